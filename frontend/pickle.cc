// See the header. Opcodes as Python's pickletools describes them; the calls that are known are
// in pickle_calls.cc. Tested by tests/torch_file_test.cc, fuzzed by
// tests/fuzz/torch_file_fuzz.cc.
#include "frontend/pickle.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "frontend/pickle_calls.h"

namespace ninfer::frontend {
namespace {

using Kind = PickleValue::Kind;

class Unpickler {
 public:
  Unpickler(absl::string_view where, absl::string_view text) : where_(where), text_(text) {}

  absl::StatusOr<Pickle> Run() {
    while (!stopped_) {
      absl::Status status = Step();
      if (status.ok() && out_.values.size() > kMaxPickleValues) {
        status = Unexpected(absl::StrCat("at most ", kMaxPickleValues, " values"), "more");
      }
      NINFER_RETURN_IF_ERROR(Annotate(status, absl::StrCat(where_, ": byte ", opcode_at_)));
    }
    out_.bytes = at_;
    return std::move(out_);
  }

 private:
  absl::Status Take(uint64_t size, absl::string_view* piece) {
    if (size > text_.size() - at_) {
      return Unexpected(absl::StrCat(size, " bytes more"), absl::StrCat(text_.size() - at_));
    }
    *piece = text_.substr(at_, size);
    at_ += size;
    return absl::OkStatus();
  }

  // An unsigned number of `size` bytes.
  absl::Status TakeNumber(uint64_t size, uint64_t* number) {
    absl::string_view piece;
    NINFER_RETURN_IF_ERROR(Take(size, &piece));
    *number = 0;
    std::memcpy(number, piece.data(), size);
    return absl::OkStatus();
  }

  absl::Status TakeLine(absl::string_view* line) {
    const size_t end = text_.find('\n', at_);
    if (end == absl::string_view::npos) return Unexpected("a line's end", "none");
    NINFER_RETURN_IF_ERROR(Take(end - at_, line));
    ++at_;
    return absl::OkStatus();
  }

  uint32_t Push(PickleValue value) {
    out_.values.push_back(std::move(value));
    stack_.push_back(static_cast<uint32_t>(out_.values.size() - 1));
    return stack_.back();
  }

  absl::Status PushNumber(Kind kind, int64_t number) {
    PickleValue value;
    value.kind = kind;
    value.integer = number;
    Push(std::move(value));
    return absl::OkStatus();
  }

  // A string whose length is a number of `size` bytes.
  absl::Status PushText(Kind kind, uint64_t size) {
    uint64_t length = 0;
    NINFER_RETURN_IF_ERROR(TakeNumber(size, &length));
    PickleValue value;
    value.kind = kind;
    NINFER_RETURN_IF_ERROR(Take(length, &value.text));
    Push(std::move(value));
    return absl::OkStatus();
  }

  absl::Status PushItems(Kind kind, std::vector<uint32_t> items) {
    PickleValue value;
    value.kind = kind;
    value.items = std::move(items);
    Push(std::move(value));
    return absl::OkStatus();
  }

  // The top `count` values of the stack, above the last mark; they leave it.
  absl::Status PopTop(size_t count, std::vector<uint32_t>* items) {
    const size_t bottom = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() - bottom < count) {
      return Unexpected(absl::StrCat(count, " values on the stack"),
                        absl::StrCat(stack_.size() - bottom));
    }
    items->assign(stack_.end() - static_cast<int64_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return absl::OkStatus();
  }

  absl::Status PopToMark(std::vector<uint32_t>* items) {
    if (marks_.empty()) return Unexpected("a mark on the stack", "none");
    items->assign(stack_.begin() + static_cast<int64_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return absl::OkStatus();
  }

  // The value on top, which stays there and must be of this kind.
  absl::Status Top(Kind kind, PickleValue** value) {
    std::vector<uint32_t> top;
    NINFER_RETURN_IF_ERROR(PopTop(1, &top));
    stack_.push_back(top[0]);
    *value = &out_.values[top[0]];
    if ((*value)->kind != kind) return Unexpected(KindName(kind), KindName((*value)->kind));
    return absl::OkStatus();
  }

  absl::Status AppendTo(Kind kind, const std::vector<uint32_t>& items) {
    PickleValue* target = nullptr;
    NINFER_RETURN_IF_ERROR(Top(kind, &target));
    if (kind == Kind::kDict && items.size() % 2 != 0)
      return Unexpected("a value for each key", "none");
    target->items.insert(target->items.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status PushGlobal(absl::string_view module, absl::string_view name) {
    NINFER_ASSIGN_OR_RETURN(PickleValue global, FindPickleGlobal(module, name));
    Push(std::move(global));
    return absl::OkStatus();
  }

  absl::Status StackGlobal(uint64_t) {
    std::vector<uint32_t> names;
    NINFER_RETURN_IF_ERROR(PopTop(2, &names));
    for (uint32_t name : names) {
      if (out_.values[name].kind != Kind::kString) {
        return Unexpected("the name of a global", KindName(out_.values[name].kind));
      }
    }
    return PushGlobal(out_.values[names[0]].text, out_.values[names[1]].text);
  }

  absl::Status Get(uint64_t size) {
    uint64_t slot = 0;
    NINFER_RETURN_IF_ERROR(TakeNumber(size, &slot));
    const auto found = memo_.find(slot);
    if (found == memo_.end())
      return Unexpected(absl::StrCat("a value under the number ", slot), "none");
    stack_.push_back(found->second);
    return absl::OkStatus();
  }

  absl::Status Put(uint64_t slot) {
    if (stack_.empty()) return Unexpected("a value on the stack", "none");
    memo_[slot] = stack_.back();
    return absl::OkStatus();
  }

  absl::Status PutAt(uint64_t size) {
    uint64_t slot = 0;
    NINFER_RETURN_IF_ERROR(TakeNumber(size, &slot));
    return Put(slot);
  }

  absl::Status PushLong(uint64_t) {
    uint64_t size = 0;
    NINFER_RETURN_IF_ERROR(TakeNumber(1, &size));
    PickleValue value;
    NINFER_RETURN_IF_ERROR(Take(size, &value.text));
    value.kind = size > sizeof(int64_t) ? Kind::kBigInt : Kind::kInt;
    if (value.kind == Kind::kInt && size > 0) {
      std::memcpy(&value.integer, value.text.data(), size);
      const int unused = 64 - 8 * static_cast<int>(size);  // the sign is the highest bit given
      value.integer =
          static_cast<int64_t>(static_cast<uint64_t>(value.integer) << unused) >> unused;
    }
    Push(std::move(value));
    return absl::OkStatus();
  }

  absl::Status PersistentId(uint64_t) {
    std::vector<uint32_t> id;
    NINFER_RETURN_IF_ERROR(PopTop(1, &id));
    NINFER_ASSIGN_OR_RETURN(PickleValue storage, LoadPickleStorage(out_.values, id[0]));
    Push(std::move(storage));
    return absl::OkStatus();
  }

  absl::Status Reduce(uint64_t) {
    std::vector<uint32_t> call;
    NINFER_RETURN_IF_ERROR(PopTop(2, &call));
    NINFER_ASSIGN_OR_RETURN(PickleValue made,
                            CallPickleGlobal(out_.values, call[0], call[1], &copied_));
    Push(std::move(made));
    return absl::OkStatus();
  }

  // A dictionary's attributes (`_metadata`, the versions of its modules) say nothing of tensors.
  absl::Status Build(uint64_t) {
    std::vector<uint32_t> state;
    NINFER_RETURN_IF_ERROR(PopTop(1, &state));
    PickleValue* target = nullptr;
    NINFER_RETURN_IF_ERROR(Top(Kind::kDict, &target));
    if (out_.values[state[0]].kind == Kind::kDict) return absl::OkStatus();
    return Unexpected("attributes of a dictionary", KindName(out_.values[state[0]].kind));
  }

  absl::Status Stop(uint64_t) {
    std::vector<uint32_t> root;
    NINFER_RETURN_IF_ERROR(PopTop(1, &root));
    out_.root = root[0];
    stopped_ = true;
    return absl::OkStatus();
  }

  absl::Status Mark(uint64_t) {
    marks_.push_back(stack_.size());
    return absl::OkStatus();
  }

  absl::Status Pop(uint64_t) {
    std::vector<uint32_t> items;
    return PopTop(1, &items);
  }

  absl::Status PopMark(uint64_t) {
    std::vector<uint32_t> items;
    return PopToMark(&items);
  }

  absl::Status PushNone(uint64_t) { return PushNumber(Kind::kNone, 0); }
  absl::Status PushBool(uint64_t value) {
    return PushNumber(Kind::kBool, static_cast<int64_t>(value));
  }
  absl::Status PushFloat(uint64_t size) {
    NINFER_RETURN_IF_ERROR(Skip(size));
    return PushNumber(Kind::kFloat, 0);
  }
  absl::Status PushString(uint64_t size) { return PushText(Kind::kString, size); }
  absl::Status PushBytes(uint64_t size) { return PushText(Kind::kBytes, size); }
  absl::Status PushList(uint64_t) { return PushItems(Kind::kList, {}); }
  absl::Status PushDict(uint64_t) { return PushItems(Kind::kDict, {}); }

  absl::Status PushTuple(uint64_t count) {
    std::vector<uint32_t> items;
    NINFER_RETURN_IF_ERROR(PopTop(count, &items));
    return PushItems(Kind::kTuple, std::move(items));
  }

  absl::Status PushTupleToMark(uint64_t) {
    std::vector<uint32_t> items;
    NINFER_RETURN_IF_ERROR(PopToMark(&items));
    return PushItems(Kind::kTuple, std::move(items));
  }

  absl::Status PopAndAppend(Kind kind, uint64_t count) {
    std::vector<uint32_t> items;
    NINFER_RETURN_IF_ERROR(PopTop(count, &items));
    return AppendTo(kind, items);
  }

  absl::Status PopToMarkAndAppend(Kind kind) {
    std::vector<uint32_t> items;
    NINFER_RETURN_IF_ERROR(PopToMark(&items));
    return AppendTo(kind, items);
  }

  absl::Status Append(uint64_t count) { return PopAndAppend(Kind::kList, count); }
  absl::Status SetItem(uint64_t count) { return PopAndAppend(Kind::kDict, count); }
  absl::Status AppendToMark(uint64_t) { return PopToMarkAndAppend(Kind::kList); }
  absl::Status SetItemsToMark(uint64_t) { return PopToMarkAndAppend(Kind::kDict); }
  absl::Status Memoize(uint64_t) { return Put(memo_.size()); }

  absl::Status PushInt(uint64_t size) {
    uint64_t number = 0;
    NINFER_RETURN_IF_ERROR(TakeNumber(size, &number));
    // Only the one of four bytes has a sign.
    return PushNumber(Kind::kInt,
                      size == 4 ? static_cast<int32_t>(number) : static_cast<int64_t>(number));
  }

  absl::Status Global(uint64_t) {
    absl::string_view module, name;
    NINFER_RETURN_IF_ERROR(TakeLine(&module));
    NINFER_RETURN_IF_ERROR(TakeLine(&name));
    return PushGlobal(module, name);
  }

  absl::Status Skip(uint64_t size) {
    absl::string_view skipped;
    return Take(size, &skipped);
  }

  struct Opcode;
  static const Opcode kOpcodes[];
  absl::Status Step();

  std::string where_;
  absl::string_view text_;
  uint64_t at_ = 0, opcode_at_ = 0;
  size_t copied_ = 0;
  bool stopped_ = false;
  Pickle out_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  absl::flat_hash_map<uint64_t, uint32_t> memo_;
};

// The opcodes that are known. Those that make or change objects of any class are not among them.
struct Unpickler::Opcode {
  uint8_t code;
  absl::Status (Unpickler::*run)(uint64_t argument);
  uint64_t argument;
};

const Unpickler::Opcode Unpickler::kOpcodes[] = {
    {0x80, &Unpickler::Skip, 1},  // PROTO
    {0x95, &Unpickler::Skip, 8},  // FRAME
    {'.', &Unpickler::Stop, 0},
    {'(', &Unpickler::Mark, 0},
    {'0', &Unpickler::Pop, 0},
    {'1', &Unpickler::PopMark, 0},
    {'N', &Unpickler::PushNone, 0},
    {0x88, &Unpickler::PushBool, 1},
    {0x89, &Unpickler::PushBool, 0},
    {'J', &Unpickler::PushInt, 4},
    {'K', &Unpickler::PushInt, 1},
    {'M', &Unpickler::PushInt, 2},
    {0x8a, &Unpickler::PushLong, 1},
    {'G', &Unpickler::PushFloat, 8},
    {'X', &Unpickler::PushString, 4},   // BINUNICODE
    {0x8c, &Unpickler::PushString, 1},  // SHORT_BINUNICODE
    {0x8d, &Unpickler::PushString, 8},  // BINUNICODE8
    {'T', &Unpickler::PushString, 4},   // BINSTRING, of Python 2
    {'U', &Unpickler::PushString, 1},   // SHORT_BINSTRING
    {'B', &Unpickler::PushBytes, 4},
    {'C', &Unpickler::PushBytes, 1},
    {')', &Unpickler::PushTuple, 0},
    {0x85, &Unpickler::PushTuple, 1},
    {0x86, &Unpickler::PushTuple, 2},
    {0x87, &Unpickler::PushTuple, 3},
    {'t', &Unpickler::PushTupleToMark, 0},
    {']', &Unpickler::PushList, 0},
    {'a', &Unpickler::Append, 1},
    {'e', &Unpickler::AppendToMark, 0},
    {'}', &Unpickler::PushDict, 0},
    {'s', &Unpickler::SetItem, 2},
    {'u', &Unpickler::SetItemsToMark, 0},
    {'h', &Unpickler::Get, 1},
    {'j', &Unpickler::Get, 4},
    {'q', &Unpickler::PutAt, 1},
    {'r', &Unpickler::PutAt, 4},
    {0x94, &Unpickler::Memoize, 0},
    {'c', &Unpickler::Global, 0},
    {0x93, &Unpickler::StackGlobal, 0},
    {'Q', &Unpickler::PersistentId, 0},
    {'R', &Unpickler::Reduce, 0},
    {'b', &Unpickler::Build, 0},
};

absl::Status Unpickler::Step() {
  opcode_at_ = at_;
  uint64_t code = 0;
  NINFER_RETURN_IF_ERROR(TakeNumber(1, &code));
  for (const Opcode& opcode : kOpcodes) {
    if (opcode.code == code) return (this->*opcode.run)(opcode.argument);
  }
  return Unexpected("only what tensors are made of", absl::StrFormat("opcode 0x%02x", code));
}

}  // namespace

absl::StatusOr<Pickle> ParsePickle(absl::string_view where, absl::string_view text) {
  return Unpickler(where, text).Run();
}

}  // namespace ninfer::frontend
