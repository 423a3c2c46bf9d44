#include "plan/sections.h"

#include "base/status.h"

namespace ninfer::plan {
namespace {

// Each Code function describes one section, or one item of a list in it, for both directions. The
// number given to List is the size of its smallest item.

template <typename Codec, typename T>
void CodeMetadata(Codec& c, int version, T& m) {
  c.Text("model name", m.model_name);
  c.Text("architecture", m.architecture);
  c.I64("vocabulary", m.vocab_size);
  c.I64("context length", m.context_length);
  c.I64("parameters", m.parameters);
  const auto id = [](auto& codec, auto& value) { codec.I32("id", value); };
  c.Optional("has first id", m.bos_id, id);
  c.Optional("has padding id", m.pad_id, id);
  c.List("end ids", m.eos_ids, 4, id);
  c.Optional("has sampling default", m.do_sample,
             [](auto& codec, auto& value) { codec.Bool("sampling default", value); });
  c.Optional("has temperature", m.temperature,
             [](auto& codec, auto& value) { codec.F64("temperature", value); });
  c.Optional("has top p", m.top_p, [](auto& codec, auto& value) { codec.F64("top p", value); });
  c.Optional("has top k", m.top_k, [](auto& codec, auto& value) { codec.I64("top k", value); });
  c.Text("chat template", m.chat_template);
  c.Text("default prompt", m.default_prompt);
  c.Text("weights dtype", m.weights_dtype);
  c.Text("activations dtype", m.activations_dtype);
  c.Text("cache dtype", m.kv_dtype);
  c.Bool("has cache", m.has_kv_cache);
  c.Bool("logits for wanted rows", m.logits_for_wanted_rows);
  c.Bool("random weights", m.random_weights);
  if (version < 2) return;
  c.Bool("rope by length", m.rope_by_length);
  c.I64("rope crossing", m.rope_crossing);
  if (version < 3) return;
  c.Optional("has min p", m.min_p, [](auto& codec, auto& value) { codec.F64("min p", value); });
  c.Optional("has repetition penalty", m.repetition_penalty,
             [](auto& codec, auto& value) { codec.F64("repetition penalty", value); });
  if (version < 4) return;
  c.Optional("has most new tokens", m.max_new_tokens,
             [](auto& codec, auto& value) { codec.I64("most new tokens", value); });
}

template <typename Codec, typename T>
void CodeChat(Codec& c, T& m) {
  const auto named = [](auto& codec, auto& item) {
    codec.Text("name", item.first);
    codec.Text("text", item.second);
  };
  c.List("templates", m.more_chat_templates, 8, named);
  c.List("special tokens", m.special_tokens, 8, named);
}

template <typename Codec, typename T>
void CodeVision(Codec& c, T& contents) {
  auto& v = *contents.plan.vision;
  c.I64("patch size", v.patch_size);
  c.I64("channels", v.channels);
  c.I64("grid", v.grid);
  c.I64("scale factor", v.scale_factor);
  c.I64("columns", v.columns);
  c.I32("image token", v.image_token_id);
  c.Bool("has processor", v.has_processor);
  c.Bool("resizes", v.do_resize);
  c.Bool("splits", v.do_image_splitting);
  c.Bool("rescales", v.do_rescale);
  c.Bool("normalises", v.do_normalize);
  c.I64("longest edge", v.longest_edge);
  c.I64("largest frame", v.max_image_size);
  c.F64("rescale factor", v.rescale_factor);
  const auto number = [](auto& codec, auto& value) { codec.F64("number", value); };
  c.List("mean", v.image_mean, 8, number);
  c.List("deviation", v.image_std, 8, number);
  c.Text("image mark", v.image_token);
  c.Text("mark around images", v.fake_image_token);
  c.Text("mark of the whole", v.global_image_token);
  c.Blob("function", contents.vision_function);
}

template <typename Codec, typename T>
void CodeSymbol(Codec& c, T& symbol) {
  c.Text("name", symbol.name);
  c.I64("min", symbol.min);
  c.I64("max", symbol.max);
}

template <typename Codec, typename T>
void CodeBuffer(Codec& c, T& buffer) {
  c.Text("name", buffer.name);
  c.Text("type", buffer.type);
  c.I64("row stride", buffer.ld);
  c.Bool("replicated", buffer.replicated);
  c.U64("offset", buffer.offset);
  c.U64("bytes", buffer.bytes);
  c.I32("first launch", buffer.first_launch);
  c.I32("last launch", buffer.last_launch);
}

template <typename Codec, typename T>
void CodeKvLayer(Codec& c, int version, T& layer) {
  c.Type("dtype", layer.dtype);
  c.I64("heads", layer.heads);
  c.I64("head dim", layer.head_dim);
  c.I64("page positions", layer.page_positions);
  c.I64("page bytes", layer.page_bytes);
  if (version >= 2) c.I64("window", layer.window);
}

template <typename Codec, typename T>
void CodeWeight(Codec& c, int version, T& weight) {
  c.Text("name", weight.name);
  c.Text("format", weight.format);
  c.I64("n", weight.n);
  c.I64("k", weight.k);
  c.I64("segments", weight.segments);
  c.U64("offset", weight.offset);
  c.U64("bytes", weight.bytes);
  if (version >= 2) c.I64("segments read", weight.segments_read);
}

template <typename Codec, typename T>
void CodeKernel(Codec& c, T& kernel) {
  c.Text("name", kernel.name);
  c.Text("family", kernel.family);
  c.U64("scratch bytes", kernel.scratch_bytes);
}

template <typename Codec, typename T>
void CodeLaunch(Codec& c, T& launch) {
  c.U32("kernel", launch.kernel);
  c.Enum("barrier", launch.barrier, 5);
  c.Bool("replicated", launch.replicated);
  c.I64("factor", launch.factor);
  c.I32("symbol", launch.symbol);
  c.I64("block", launch.block);
  c.List("operands", launch.operands, 5, [](auto& codec, auto& operand) {
    codec.Enum("kind", operand.kind, 4);
    codec.U32("index", operand.index);
  });
  c.Text("provenance", launch.provenance);
}

template <typename Codec, typename T>
void CodeEntry(Codec& c, int version, T& entry) {
  c.Text("name", entry.name);
  c.List("arguments", entry.arguments, 4,
         [](auto& codec, auto& argument) { codec.Text("name", argument); });
  c.I32("output", entry.output);
  if (version >= 3) c.I32("argmax", entry.argmax);
  c.I64("few rows", entry.few_rows);
  c.U64("arena bytes", entry.arena_bytes);
  c.U64("replica bytes", entry.replica_bytes);
  c.U64("arena lower bound", entry.arena_lower_bound);
  c.List("launches", entry.launches, 34,
         [](auto& codec, auto& launch) { CodeLaunch(codec, launch); });
}

template <typename Codec, typename T>
void CodeImageFields(Codec& c, T& image) {
  c.Text("target", image.target);
  c.Text("cpu", image.cpu);
  c.List("required features", image.required_features, 4,
         [](auto& codec, auto& feature) { codec.Text("name", feature); });
  c.U64("executable bytes", image.executable_bytes);
  c.List("kernels", image.kernels, 8,
         [](auto& codec, auto& kernel) { codec.U64("offset", kernel.offset); });
  c.Blob("bytes", image.bytes);
}

// Kernel symbols stand beside the code, in a section that may be skipped: names, sizes and frames.
template <typename Codec, typename T>
void CodeImageSymbols(Codec& c, T& image) {
  c.List("symbols", image.kernels, 20, [](auto& codec, auto& kernel) {
    codec.Text("name", kernel.name);
    codec.U64("size", kernel.size);
    codec.I64("stack bytes", kernel.stack_bytes);
  });
}

template <typename Codec, typename T>
void CodeImageLines(Codec& c, T& image) {
  c.List("symbols", image.kernels, 4, [](auto& codec, auto& kernel) {
    codec.List("lines", kernel.lines, 8, [](auto& lines, auto& line) {
      lines.U32("offset", line.offset);
      lines.U32("line", line.line);
    });
  });
}

template <typename Codec, typename T>
void CodeCardFunction(Codec& c, T& function) {
  c.Text("name", function.name);
  c.U32("kernel", function.kernel);
  c.I32("rows symbol", function.rows_symbol);
  c.I64("most rows", function.most_rows);
  c.List("grid", function.grid, 20, [](auto& codec, auto& grid) {
    codec.I64("factor", grid.factor);
    codec.I32("symbol", grid.symbol);
    codec.I64("block", grid.block);
  });
  c.U32("threads", function.threads);
}

template <typename Codec, typename T>
void CodeCards(Codec& c, T& cards) {
  c.U64("weights offset", cards.weights_offset);
  c.U64("weight bytes", cards.weight_bytes);
  c.List("weights", cards.weights, 16, [](auto& codec, auto& place) {
    codec.U64("offset", place.offset);
    codec.U64("bytes", place.bytes);
  });
  c.List("layers", cards.page_bytes, 8,
         [](auto& codec, auto& bytes) { codec.I64("page bytes", bytes); });
  c.List("functions", cards.functions, 28,
         [](auto& codec, auto& function) { CodeCardFunction(codec, function); });
  c.List("images", cards.images, 17, [](auto& codec, auto& image) {
    codec.Text("architecture", image.architecture);
    codec.U32("capability", image.capability);
    codec.Bool("ptx", image.ptx);
    codec.Blob("bytes", image.bytes);
  });
  c.Blob("source", cards.source);
}

template <typename Codec, typename T>
void CodeQuality(Codec& c, T& quality) {
  c.Text("origin", quality.origin);
  c.I64("tokens", quality.tokens);
  c.I64("argmax flips", quality.argmax_flips);
  c.F64("kl divergence", quality.kl_divergence);
  c.F64("reference perplexity", quality.reference_perplexity);
  c.F64("perplexity", quality.perplexity);
  c.List("linears", quality.linears, 20, [](auto& codec, auto& linear) {
    codec.Text("name", linear.name);
    codec.Text("weight", linear.weight);
    codec.Text("input", linear.input);
    codec.F64("error", linear.error);
  });
}

template <typename Codec, typename T>
void CodeEvidence(Codec& c, int version, T& evidence) {
  c.List("calibration ids", evidence.calibration_ids, 4,
         [](auto& codec, auto& id) { codec.I32("id", id); });
  c.F64("max error", evidence.max_error);
  c.F64("bound", evidence.bound);
  c.F64("kl divergence", evidence.kl_divergence);
  c.I64("argmax flips", evidence.argmax_flips);
  c.Text("compared", evidence.compared);
  c.U64("logits digest", evidence.logits_digest);
  if (version < 2) return;
  c.F64("code error", evidence.code_error);
  c.Optional("has quality", evidence.quality,
             [](auto& codec, auto& quality) { CodeQuality(codec, quality); });
}

template <typename Codec, typename T>
void CodeProvenance(Codec& c, T& provenance) {
  c.Text("compiler version", provenance.compiler_version);
  c.Text("options", provenance.options);
  c.Text("source", provenance.source);
  c.List("passes", provenance.passes, 53, [](auto& codec, auto& pass) {
    codec.Text("name", pass.name);
    codec.F64("seconds", pass.seconds);
    codec.I64("rewrites", pass.rewrites);
    codec.I64("ops before", pass.ops_before);
    codec.I64("ops after", pass.ops_after);
    codec.I64("bytes before", pass.bytes_before);
    codec.I64("bytes after", pass.bytes_after);
    codec.Bool("skipped", pass.skipped);
  });
}

template <typename Codec, typename T>
void CodeWeightChecksums(Codec& c, T& checksums) {
  c.U64("block bytes", checksums.block_bytes);
  c.List("checksums", checksums.checksums, 8,
         [](auto& codec, auto& checksum) { codec.U64("xxh3", checksum); });
}

// The one list of which description belongs to which section. `version` is of the section's form.
template <typename Codec, typename T>
void CodeSection(Section section, int version, Codec& c, T& contents) {
  auto& plan = contents.plan;
  switch (section) {
    case Section::kMetadata:
      return CodeMetadata(c, version, plan.metadata);
    case Section::kSymbols:
      return c.List("symbols", plan.symbols, 20,
                    [](auto& codec, auto& item) { CodeSymbol(codec, item); });
    case Section::kBuffers:
      return c.List("buffers", plan.buffers, 41,
                    [](auto& codec, auto& item) { CodeBuffer(codec, item); });
    case Section::kKvGeometry:
      return c.List("layers", plan.kv_layers, 36,
                    [version](auto& codec, auto& item) { CodeKvLayer(codec, version, item); });
    case Section::kWeights:
      c.U64("weight bytes", plan.weight_bytes);
      return c.List("weights", plan.weights, 48,
                    [version](auto& codec, auto& item) { CodeWeight(codec, version, item); });
    case Section::kKernels:
      return c.List("kernels", plan.kernels, 16,
                    [](auto& codec, auto& item) { CodeKernel(codec, item); });
    case Section::kEntries:
      return c.List("entries", plan.entries, 48,
                    [version](auto& codec, auto& item) { CodeEntry(codec, version, item); });
    case Section::kCode:
      return c.List("images", plan.images, 32,
                    [](auto& codec, auto& item) { CodeImageFields(codec, item); });
    case Section::kKernelSymbols:
      return c.List("images", plan.images, 4,
                    [](auto& codec, auto& item) { CodeImageSymbols(codec, item); });
    case Section::kKernelLines:
      return c.List("images", plan.images, 4,
                    [](auto& codec, auto& item) { CodeImageLines(codec, item); });
    case Section::kTokenizer:
      return c.Blob("tokenizer", plan.tokenizer);
    case Section::kChat:
      return CodeChat(c, plan.metadata);
    case Section::kVision:
      return CodeVision(c, contents);
    case Section::kCards:
      return CodeCards(c, *plan.cards);
    case Section::kProgramText:
      return c.Blob("program", plan.program_text);
    case Section::kImportedGraph:
      return c.Blob("graph", plan.imported_graph_text);
    case Section::kFinalGraph:
      return c.Blob("graph", plan.final_graph_text);
    case Section::kEvidence:
      return CodeEvidence(c, version, plan.evidence);
    case Section::kProvenance:
      return CodeProvenance(c, plan.provenance);
    case Section::kWeightChecksums:
      return CodeWeightChecksums(c, contents.weight_checksums);
    case Section::kWeightData:
      break;
  }
  NINFER_CHECK(false) << "no description of section " << static_cast<uint32_t>(section);
}

// What the sections beside the code say of one kernel.
void TakeSymbol(Section section, KernelSymbol& from, KernelSymbol* to) {
  if (section == Section::kKernelLines) {
    to->lines = std::move(from.lines);
    return;
  }
  to->name = std::move(from.name);
  to->size = from.size;
  to->stack_bytes = from.stack_bytes;
}

// The sections of symbols and lines describe images that the code section made; they must agree.
absl::Status DecodeBesideCode(Section section, int version, absl::string_view bytes,
                              const std::string& context, Plan* plan, std::vector<Field>* trace) {
  Contents read;
  Decoder decoder(bytes, context, trace);
  CodeSection(section, version, decoder, read);
  NINFER_RETURN_IF_ERROR(decoder.Finish());
  if (read.plan.images.size() != plan->images.size()) {
    return InvalidArgument(context, ": expected symbols of ", plan->images.size(),
                           " images, found ", read.plan.images.size());
  }
  for (size_t i = 0; i < plan->images.size(); ++i) {
    std::vector<KernelSymbol>& kernels = plan->images[i].kernels;
    std::vector<KernelSymbol>& symbols = read.plan.images[i].kernels;
    if (symbols.size() != kernels.size()) {
      return InvalidArgument(context, ": expected ", kernels.size(), " symbols of image ", i,
                             ", found ", symbols.size());
    }
    for (size_t k = 0; k < kernels.size(); ++k) TakeSymbol(section, symbols[k], &kernels[k]);
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<SectionInfo>& ListSections() {
  static const auto& rows = *new std::vector<SectionInfo>{
#define SECTION(enumerator, number, name, version, must, holds) \
  {Section::k##enumerator, name, version, must},
#include "plan/sections.def"
  };
  return rows;
}

const SectionInfo* FindSection(uint32_t number) {
  for (const SectionInfo& row : ListSections()) {
    if (static_cast<uint32_t>(row.section) == number) return &row;
  }
  return nullptr;
}

std::string EncodeSection(Section section, const Contents& contents) {
  Encoder encoder;
  CodeSection(section, FindSection(static_cast<uint32_t>(section))->version, encoder, contents);
  return std::move(encoder).bytes();
}

absl::Status DecodeSection(Section section, int version, absl::string_view bytes,
                           absl::string_view file, Contents* contents, std::vector<Field>* trace) {
  const SectionInfo* info = FindSection(static_cast<uint32_t>(section));
  const std::string context = absl::StrCat(file, ": section ", info->name);
  if (section == Section::kKernelSymbols || section == Section::kKernelLines) {
    return DecodeBesideCode(section, version, bytes, context, &contents->plan, trace);
  }
  Decoder decoder(bytes, context, trace);
  if (section == Section::kVision) contents->plan.vision.emplace();
  if (section == Section::kCards) contents->plan.cards.emplace();
  CodeSection(section, version, decoder, *contents);
  return decoder.Finish();
}

}  // namespace ninfer::plan
