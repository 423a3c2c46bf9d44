// Decoders as Hugging Face tokenizers has them, each as a stage that can stream.
// Tested by tests/text_components_test.cc and tests/text_zoo_test.cc.
#include "text/decode.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "text/unicode.h"

namespace ninfer {
namespace {

// Collects the text of all pieces.
class Sink : public DecodeStage {
 public:
  explicit Sink(std::string* out) : out_(out) {}
  void Text(absl::string_view text) override { out_->append(text.data(), text.size()); }
  void EndPiece() override {}
  void Finish() override {}

 private:
  std::string* out_;
};

class Stage : public DecodeStage {
 public:
  explicit Stage(DecodeStage* next) : next_(next) {}
  void Finish() override { next_->Finish(); }

 protected:
  void Emit(absl::string_view piece) {
    next_->Text(piece);
    next_->EndPiece();
  }
  DecodeStage* next_;
};

// A stage that needs a piece as a whole.
class WholePieceStage : public Stage {
 public:
  using Stage::Stage;
  void Text(absl::string_view text) override { piece_.append(text.data(), text.size()); }
  void EndPiece() override {
    Piece(piece_);
    piece_.clear();
  }

 protected:
  virtual void Piece(absl::string_view piece) = 0;

 private:
  std::string piece_;
};

// No decoder: a blank between pieces.
class JoinWithBlanks : public WholePieceStage {
 public:
  using WholePieceStage::WholePieceStage;
  void Piece(absl::string_view piece) override {
    if (any_) next_->Text(" ");
    any_ = true;
    Emit(piece);
  }

 private:
  bool any_ = false;
};

// All pieces become one. A piece of byte letters only is read as bytes, any other as it stands.
class ByteLevelStage : public WholePieceStage {
 public:
  using WholePieceStage::WholePieceStage;
  void Piece(absl::string_view piece) override {
    bytes_.clear();
    for (size_t pos = 0; pos < piece.size();) {
      const CodePoint c = DecodeAt(piece, pos);
      const int byte = LetterToByte(c.value);
      if (byte < 0) {
        bytes_.assign(piece.data(), piece.size());
        break;
      }
      bytes_.push_back(static_cast<char>(byte));
      pos += c.length;
    }
    text_.clear();
    repairer_.Append(bytes_, &text_);
    if (!text_.empty()) next_->Text(text_);
  }
  void Finish() override {
    text_.clear();
    repairer_.Finish(&text_);
    Emit(text_);
    next_->Finish();
  }

 private:
  Utf8Repairer repairer_;
  std::string bytes_;
  std::string text_;
};

// The replacement becomes a blank; in the first piece it is dropped (scheme never: it is not).
class MetaspaceStage : public Stage {
 public:
  MetaspaceStage(const Step& step, DecodeStage* next)
      : Stage(next), blank_(step.text), drop_first_((step.number & 3) != kNever) {}
  void Text(absl::string_view text) override {
    next_->Text(absl::StrReplaceAll(text, {{blank_, first_ && drop_first_ ? "" : " "}}));
  }
  void EndPiece() override {
    first_ = false;
    next_->EndPiece();
  }

 private:
  std::string blank_;
  bool drop_first_;
  bool first_ = true;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte of a piece such as <0x41>, or -1.
int BytePiece(absl::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const int high = piece[3] == '+' ? 0 : HexDigit(piece[3]);  // Rust reads "+F" as a number too
  const int low = HexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// A run of byte pieces becomes its text, or, if any of it is not UTF-8, one U+FFFD for each byte.
class ByteFallbackStage : public WholePieceStage {
 public:
  using WholePieceStage::WholePieceStage;
  void Piece(absl::string_view piece) override {
    const int byte = BytePiece(piece);
    if (byte >= 0) {
      run_.push_back(static_cast<char>(byte));
      return;
    }
    Flush();
    Emit(piece);
  }
  void Finish() override {
    Flush();
    next_->Finish();
  }

 private:
  void Flush() {
    if (run_.empty()) return;
    if (IsValidUtf8(run_)) {
      Emit(run_);
    } else {
      for (size_t i = 0; i < run_.size(); ++i) Emit(kReplacementCharacter);
    }
    run_.clear();
  }
  std::string run_;
};

class FuseStage : public Stage {
 public:
  using Stage::Stage;
  void Text(absl::string_view text) override { next_->Text(text); }
  void EndPiece() override {}
  void Finish() override {
    next_->EndPiece();
    next_->Finish();
  }
};

// Drops up to `number` of a character at a piece's start and up to `number2` at its end.
class StripStage : public Stage {
 public:
  StripStage(const Step& step, DecodeStage* next)
      : Stage(next), character_(step.text), left_(step.number), right_(step.number2) {}
  void Text(absl::string_view text) override {
    for (; stripped_ < left_ && !text.empty(); ++stripped_) {
      if (text.substr(0, character_.size()) != character_) {
        stripped_ = left_;
        break;
      }
      text.remove_prefix(character_.size());
    }
    if (text.empty()) return;
    if (right_ == 0) {
      next_->Text(text);
      return;
    }
    held_.append(text.data(), text.size());
    size_t keep = held_.size();
    for (uint32_t i = 0; i < right_ && EndsWithCharacter(keep); ++i) keep -= character_.size();
    next_->Text(absl::string_view(held_).substr(0, keep));
    held_.erase(0, keep);
  }
  void EndPiece() override {
    stripped_ = 0;
    held_.clear();
    next_->EndPiece();
  }

 private:
  bool EndsWithCharacter(size_t end) const {
    return end >= character_.size() &&
           held_.compare(end - character_.size(), character_.size(), character_) == 0;
  }
  std::string character_;
  uint32_t left_;
  uint32_t right_;
  uint32_t stripped_ = 0;
  std::string held_;  // what may be the end to be dropped
};

// Of all pieces no more is made than of a text of their size.
class ReplaceStage : public WholePieceStage {
 public:
  ReplaceStage(const CompiledStep* step, const size_t* pushed, DecodeStage* next)
      : WholePieceStage(next), step_(step), pushed_(pushed) {}
  void Piece(absl::string_view piece) override {
    const size_t limit = NormalizedLimit(*pushed_);
    const std::string text =
        ReplaceAll(*step_->pattern, step_->step.content, piece, limit - std::min(limit, emitted_));
    emitted_ += text.size();
    Emit(text);
  }

 private:
  const CompiledStep* step_;
  const size_t* pushed_;
  size_t emitted_ = 0;
};

// The suffix becomes a blank, and nothing in the last piece.
class BpeStage : public WholePieceStage {
 public:
  BpeStage(const Step& step, DecodeStage* next) : WholePieceStage(next), suffix_(step.text) {}
  void Piece(absl::string_view piece) override {
    Flush(" ");
    held_.assign(piece.data(), piece.size());
    holds_ = true;
  }
  void Finish() override {
    Flush("");
    next_->Finish();
  }

 private:
  void Flush(absl::string_view replacement) {
    if (!holds_) return;
    Emit(suffix_.empty() ? held_ : absl::StrReplaceAll(held_, {{suffix_, replacement}}));
    holds_ = false;
  }
  std::string suffix_;
  std::string held_;
  bool holds_ = false;
};

// What WordPiece does about blanks that cutting words apart put in.
void CleanUp(std::string* text) {
  constexpr const char* kRules[][2] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) *text = absl::StrReplaceAll(*text, {{from, to}});
}

// A piece with the prefix joins the one before; any other follows a blank.
class WordPieceStage : public WholePieceStage {
 public:
  WordPieceStage(const Step& step, DecodeStage* next)
      : WholePieceStage(next), prefix_(step.text), clean_up_(step.number != 0) {}
  void Piece(absl::string_view piece) override {
    std::string text;
    if (first_ || absl::ConsumePrefix(&piece, prefix_)) {
      text = std::string(piece);
    } else {
      text = absl::StrCat(" ", piece);
    }
    first_ = false;
    if (clean_up_) CleanUp(&text);
    Emit(text);
  }

 private:
  std::string prefix_;
  bool clean_up_;
  bool first_ = true;
};

// Of equal neighbours one is kept; padding goes.
class CtcStage : public WholePieceStage {
 public:
  CtcStage(const Step& step, DecodeStage* next)
      : WholePieceStage(next),
        padding_(step.text),
        delimiter_(step.content),
        clean_up_(step.number != 0) {}
  void Piece(absl::string_view piece) override {
    if (any_ && piece == last_) return;
    any_ = true;
    last_ = std::string(piece);
    std::string text = Replaced(last_, padding_, "");
    if (clean_up_) {
      CleanUp(&text);
      text = Replaced(text, delimiter_, " ");
    }
    if (!text.empty()) Emit(text);
  }

 private:
  static std::string Replaced(const std::string& text, const std::string& from,
                              absl::string_view to) {
    return from.empty() ? text : absl::StrReplaceAll(text, {{from, to}});
  }
  std::string padding_;
  std::string delimiter_;
  bool clean_up_;
  bool any_ = false;
  std::string last_;
};

std::unique_ptr<DecodeStage> MakeStage(const CompiledStep& compiled, const size_t* pushed,
                                       DecodeStage* next) {
  const Step& step = compiled.step;
  switch (static_cast<DecoderKind>(step.kind)) {
    case DecoderKind::kByteLevel:
      return std::make_unique<ByteLevelStage>(next);
    case DecoderKind::kMetaspace:
      return std::make_unique<MetaspaceStage>(step, next);
    case DecoderKind::kByteFallback:
      return std::make_unique<ByteFallbackStage>(next);
    case DecoderKind::kStrip:
      return std::make_unique<StripStage>(step, next);
    case DecoderKind::kReplace:
      return std::make_unique<ReplaceStage>(&compiled, pushed, next);
    case DecoderKind::kBpe:
      return std::make_unique<BpeStage>(step, next);
    case DecoderKind::kWordPiece:
      return std::make_unique<WordPieceStage>(step, next);
    case DecoderKind::kCtc:
      return std::make_unique<CtcStage>(step, next);
    case DecoderKind::kFuse:
    case DecoderKind::kCount:
      break;
  }
  return std::make_unique<FuseStage>(next);
}

}  // namespace

DecodeChain::DecodeChain(absl::Span<const CompiledStep> steps, bool has_decoder) {
  stages_.push_back(std::make_unique<Sink>(&out_));
  if (!has_decoder) stages_.push_back(std::make_unique<JoinWithBlanks>(stages_.back().get()));
  for (size_t i = steps.size(); i-- > 0;) {
    stages_.push_back(MakeStage(steps[i], &pushed_, stages_.back().get()));
  }
}

void DecodeChain::Push(absl::string_view piece) {
  pushed_ += piece.size();
  stages_.back()->Text(piece);
  stages_.back()->EndPiece();
}

void DecodeChain::Finish() { stages_.back()->Finish(); }

}  // namespace ninfer
