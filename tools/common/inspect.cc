#include "tools/common/inspect.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "plan/kv_groups.h"

namespace ninfer::tools {
namespace {

using plan::Plan;

template <typename T>
std::string OrNone(const absl::optional<T>& value) {
  return value.has_value() ? absl::StrCat(*value) : "none";
}

std::string PrintModel(const Plan& plan) {
  const plan::Metadata& m = plan.metadata;
  std::string text;
  const auto line = [&text](const std::string& name, const std::string& value) {
    absl::StrAppendFormat(&text, "%-16s %s\n", name, value);
  };
  line("name", m.model_name);
  line("architecture", m.architecture);
  line("vocabulary", absl::StrCat(m.vocab_size));
  line("context", absl::StrCat(m.context_length));
  line("parameters", absl::StrCat(m.parameters, m.random_weights ? ", random" : ""));
  line("types", absl::StrCat("weights ", m.weights_dtype, ", activations ", m.activations_dtype,
                             ", cache ", m.has_kv_cache ? m.kv_dtype : "none"));
  line("logits", m.logits_for_wanted_rows ? "of the rows that are wanted" : "of all rows");
  std::string rope = m.rope_by_length ? "by the length of the text" : "by position alone";
  if (m.rope_crossing > 0) absl::StrAppend(&rope, ", again past ", m.rope_crossing);
  line("frequencies", rope);
  line("first id", OrNone(m.bos_id));
  line("end ids", m.eos_ids.empty() ? "none" : absl::StrJoin(m.eos_ids, ", "));
  line("padding id", OrNone(m.pad_id));
  line("sampling", absl::StrCat(m.do_sample.value_or(false) ? "on" : "off", ", temperature ",
                                OrNone(m.temperature), ", top k ", OrNone(m.top_k), ", top p ",
                                OrNone(m.top_p), ", min p ", OrNone(m.min_p),
                                ", repetition penalty ", OrNone(m.repetition_penalty)));
  line("new tokens", m.max_new_tokens.has_value() ? absl::StrCat("at most ", *m.max_new_tokens)
                                                  : "until the text or the context ends");
  line("default prompt", absl::StrCat("\"", absl::CEscape(m.default_prompt), "\""));
  line("chat template", absl::StrCat(m.chat_template.size(), " bytes"));
  for (const auto& [name, text] : m.more_chat_templates) {
    line(absl::StrCat("chat template ", name), absl::StrCat(text.size(), " bytes"));
  }
  line("special tokens", absl::StrJoin(m.special_tokens, ", ", [](std::string* out, const auto& t) {
         absl::StrAppend(out, t.first, " \"", absl::CEscape(t.second), "\"");
       }));
  line("tokenizer", absl::StrCat(plan.tokenizer.size(), " bytes"));
  line("content digest", plan.content_digest);
  return text;
}

std::string PrintVision(const Plan& plan) {
  if (!plan.vision.has_value()) return "none\n";
  const plan::Vision& v = *plan.vision;
  std::string text;
  const auto line = [&text](const std::string& name, const std::string& value) {
    absl::StrAppendFormat(&text, "%-16s %s\n", name, value);
  };
  line("patches", absl::StrCat(v.patch_size, " by ", v.patch_size, " pixels, ", v.grid, " by ",
                               v.grid, " positions"));
  line("rows", absl::StrCat("of ", v.scale_factor, " by ", v.scale_factor, " patches, ", v.columns,
                            " columns"));
  line("token", absl::StrCat(v.image_token_id, " ", v.image_token, ", ", v.fake_image_token, ", ",
                             v.global_image_token));
  if (v.has_processor) {
    line("longest edge", v.do_resize ? absl::StrCat(v.longest_edge) : "as it is");
    line("frames", absl::StrCat(v.max_image_size, v.do_image_splitting ? ", cut" : ", whole"));
    line("mean", v.do_normalize ? absl::StrJoin(v.image_mean, ", ") : "none");
    line("deviation", v.do_normalize ? absl::StrJoin(v.image_std, ", ") : "none");
  }
  if (v.function == nullptr) return text;
  const plan::Evidence& e = v.function->evidence;
  line("compared", e.compared);
  line("largest error",
       absl::StrFormat("%.3g of the largest number, of the code alone %.3g, allowed %.3g",
                       e.max_error, e.code_error, e.bound));
  return text;
}

std::string PrintSymbols(const Plan& plan) {
  std::string text;
  for (const plan::Symbol& symbol : plan.symbols) {
    absl::StrAppendFormat(&text, "%s in [%d, %d]\n", symbol.name, symbol.min, symbol.max);
  }
  return text;
}

std::string PrintEntries(const Plan& plan) {
  std::string text;
  for (const plan::Entry& entry : plan.entries) {
    absl::StrAppendFormat(
        &text, "%s(%s) -> %s%s\n", entry.name, absl::StrJoin(entry.arguments, ", "),
        plan.buffers[entry.output].name,
        entry.argmax < 0 ? "" : absl::StrCat(", ", plan.buffers[entry.argmax].name));
    absl::StrAppendFormat(&text, "  %d launches, few rows up to %d\n", entry.launches.size(),
                          entry.few_rows);
    absl::StrAppendFormat(
        &text, "  peak %d bytes of one thread, lower bound %d: arena %d, replicas %d a thread\n",
        entry.arena_bytes + entry.replica_bytes, entry.arena_lower_bound, entry.arena_bytes,
        entry.replica_bytes);
  }
  return text;
}

std::string OperandName(const Plan& plan, const plan::Entry& entry, const plan::Operand& operand) {
  switch (operand.kind) {
    case plan::OperandKind::kBuffer:
      return absl::StrCat("%", plan.buffers[operand.index].name);
    case plan::OperandKind::kWeight:
      return absl::StrCat("@", plan.weights[operand.index].name);
    case plan::OperandKind::kArgument:
      return entry.arguments[operand.index];
    case plan::OperandKind::kKv:
      return absl::StrCat("kv.", operand.index);
  }
  return "";
}

// Of a launch, or of one side of a card's grid.
template <typename Count>
std::string UnitsText(const Plan& plan, const Count& units) {
  if (units.symbol < 0) return absl::StrCat(units.factor);
  return absl::StrFormat("%d x %s/%d", units.factor, plan.symbols[units.symbol].name, units.block);
}

std::string PrintLaunches(const Plan& plan) {
  static constexpr const char* kBarriers[] = {"", "barrier if many", "barrier",
                                              "barrier if prefill", "barrier if many or prefill"};
  std::string text;
  for (const plan::Entry& entry : plan.entries) {
    absl::StrAppend(&text, entry.name, ":\n");
    for (size_t i = 0; i < entry.launches.size(); ++i) {
      const plan::Launch& launch = entry.launches[i];
      std::vector<std::string> operands;
      for (const plan::Operand& operand : launch.operands) {
        operands.push_back(OperandName(plan, entry, operand));
      }
      absl::StrAppendFormat(
          &text, "%4d %-26s %s [%s]%s (%s)  # %s\n", i, kBarriers[static_cast<int>(launch.barrier)],
          plan.kernels[launch.kernel].name, UnitsText(plan, launch),
          launch.replicated ? " replicated" : "", absl::StrJoin(operands, ", "), launch.provenance);
    }
  }
  return text;
}

// Buffers whose bytes this one takes over.
std::string Reuses(const Plan& plan, const plan::Buffer& buffer) {
  std::vector<std::string> names;
  for (const plan::Buffer& other : plan.buffers) {
    const bool overlap =
        other.offset < buffer.offset + buffer.bytes && buffer.offset < other.offset + other.bytes;
    if (&other != &buffer && other.replicated == buffer.replicated && overlap &&
        other.last_launch <= buffer.first_launch) {
      names.push_back(other.name);
    }
  }
  return names.empty() ? "" : absl::StrCat("  reuses ", absl::StrJoin(names, " "));
}

std::string PrintBuffers(const Plan& plan) {
  std::string text;
  for (const plan::Buffer& buffer : plan.buffers) {
    absl::StrAppendFormat(&text, "%-24s %-18s stride %-6d %s %9d +%-9d launches %d to %d%s\n",
                          buffer.name, buffer.type, buffer.ld,
                          buffer.replicated ? "replica" : "arena  ", buffer.offset, buffer.bytes,
                          buffer.first_launch, buffer.last_launch, Reuses(plan, buffer));
  }
  return text;
}

std::string PrintCache(const Plan& plan) {
  std::string text;
  for (size_t i = 0; i < plan.kv_layers.size(); ++i) {
    const plan::KvLayer& layer = plan.kv_layers[i];
    absl::StrAppendFormat(
        &text, "layer %-3d %s, %d heads of %d, %d positions and %d bytes a page%s\n", i,
        DTypeName(layer.dtype), layer.heads, layer.head_dim, layer.page_positions, layer.page_bytes,
        layer.window > 0 ? absl::StrCat(", window ", layer.window) : "");
  }
  int64_t total = 0;
  for (const plan::KvGroup& group : plan::KvGroups(plan)) {
    const int64_t bytes =
        group.Bytes(plan.metadata.context_length, plan.kv_layers[0].page_positions);
    absl::StrAppendFormat(
        &text, "%s: layers %s, %d bytes a page in all of them, %d pages a text at most, %d bytes\n",
        group.window > 0 ? absl::StrCat("window ", group.window) : "no window",
        absl::StrJoin(group.layers, " "), group.page_bytes, group.pages_held, bytes);
    total += bytes;
  }
  absl::StrAppendFormat(&text, "%d bytes for a text as long as the context\n", total);
  return text;
}

std::string PrintWeights(const Plan& plan) {
  std::string text;
  for (const plan::Weight& weight : plan.weights) {
    absl::StrAppendFormat(&text, "%10d +%-10d %-12s [%d x %d, %d]  %s\n", weight.offset,
                          weight.bytes, weight.format, weight.segments, weight.n, weight.k,
                          weight.name);
  }
  absl::StrAppendFormat(&text, "%d bytes\n", plan.weight_bytes);
  return text;
}

int64_t LaunchesOf(const Plan& plan, size_t kernel) {
  int64_t count = 0;
  for (const plan::Entry& entry : plan.entries) {
    for (const plan::Launch& launch : entry.launches) count += launch.kernel == kernel;
  }
  return count;
}

std::string PrintCode(const Plan& plan) {
  std::string text;
  for (const plan::CodeImage& image : plan.images) {
    absl::StrAppendFormat(&text, "%s (%s): %d bytes, %d of them code, needs %s\n", image.target,
                          image.cpu, image.bytes.size(), image.executable_bytes,
                          absl::StrJoin(image.required_features, " "));
    for (size_t i = 0; i < image.kernels.size(); ++i) {
      const plan::KernelSymbol& symbol = image.kernels[i];
      const plan::Kernel& kernel = plan.kernels[i];
      absl::StrAppendFormat(&text, "%8d +%-7d %-9s stack %-5d scratch %-8d launches %-4d %s\n",
                            symbol.offset, symbol.size, kernel.family, symbol.stack_bytes,
                            kernel.scratch_bytes, LaunchesOf(plan, i),
                            symbol.name.empty() ? kernel.name : symbol.name);
    }
  }
  return text;
}

std::string PrintCards(const Plan& plan) {
  if (!plan.cards.has_value()) return "none\n";
  const plan::Cards& cards = *plan.cards;
  std::string text;
  for (const plan::CardImage& image : cards.images) {
    absl::StrAppendFormat(&text, "%s: %d bytes of %s\n", image.architecture, image.bytes.size(),
                          image.ptx ? "PTX" : "code");
  }
  for (const plan::CardFunction& function : cards.functions) {
    const std::string rows =
        function.rows_symbol < 0 || function.most_rows == INT64_MAX
            ? "any rows"
            : absl::StrCat(plan.symbols[function.rows_symbol].name, " <= ", function.most_rows);
    absl::StrAppendFormat(&text, "%-10s [%s] [%s] of %d threads  %s\n", rows,
                          UnitsText(plan, function.grid[0]), UnitsText(plan, function.grid[1]),
                          function.threads, function.name);
  }
  for (size_t i = 0; i < cards.weights.size(); ++i) {
    absl::StrAppendFormat(&text, "%10d +%-10d %s\n", cards.weights[i].offset,
                          cards.weights[i].bytes, plan.weights[i].name);
  }
  absl::StrAppendFormat(&text, "%d bytes of weights\n", cards.weight_bytes);
  return text;
}

// Each piece of a kernel's code with the line of the program that it is there for.
std::string PrintLines(const Plan& plan) {
  const std::vector<std::string> program = absl::StrSplit(plan.program_text, '\n');
  std::string text;
  for (const plan::CodeImage& image : plan.images) {
    for (size_t i = 0; i < image.kernels.size(); ++i) {
      const plan::KernelSymbol& symbol = image.kernels[i];
      absl::StrAppend(&text, symbol.name.empty() ? plan.kernels[i].name : symbol.name, "\n");
      for (const plan::CodeLine& line : symbol.lines) {
        absl::StrAppendFormat(
            &text, "%8d  line %-6d %s\n", line.offset, line.line,
            line.line <= program.size() ? absl::StripAsciiWhitespace(program[line.line - 1]) : "");
      }
    }
  }
  return text;
}

std::string PrintPasses(const Plan& plan) {
  std::string text = absl::StrFormat("%-16s %9s %9s %13s %25s\n", "pass", "ms", "rewrites", "ops",
                                     "bytes of intermediates");
  for (const plan::PassLog& pass : plan.provenance.passes) {
    if (pass.skipped) {
      absl::StrAppendFormat(&text, "%-16s   skipped\n", pass.name);
      continue;
    }
    absl::StrAppendFormat(&text, "%-16s %9.2f %9d %6d %6d %12d %12d\n", pass.name,
                          pass.seconds * 1e3, pass.rewrites, pass.ops_before, pass.ops_after,
                          pass.bytes_before, pass.bytes_after);
  }
  return text;
}

std::string PrintEvidence(const Plan& plan) {
  const plan::Evidence& e = plan.evidence;
  std::string text = absl::StrFormat("compared          %s\n", e.compared);
  if (e.logits_digest == 0) return text;
  absl::StrAppendFormat(&text, "largest error     %.3g of the largest logit\n", e.max_error);
  absl::StrAppendFormat(&text, "  of the code     %.3g with the same types, allowed %.3g\n",
                        e.code_error, e.bound);
  absl::StrAppendFormat(&text, "KL divergence     %.3g\n", e.kl_divergence);
  absl::StrAppendFormat(&text, "argmax flips      %d\n", e.argmax_flips);
  absl::StrAppendFormat(&text, "digest of logits  %016x\n", e.logits_digest);
  absl::StrAppendFormat(&text, "calibration ids   %s\n", absl::StrJoin(e.calibration_ids, " "));
  if (!e.quality) return text;
  const plan::Quality& q = *e.quality;
  absl::StrAppendFormat(&text, "quality on        %s, %d tokens\n", q.origin, q.tokens);
  absl::StrAppendFormat(&text, "  KL divergence   %.4g a token\n", q.kl_divergence);
  absl::StrAppendFormat(&text, "  argmax flips    %d\n", q.argmax_flips);
  absl::StrAppendFormat(&text, "  perplexity      %.6g, of the imported graph %.6g\n", q.perplexity,
                        q.reference_perplexity);
  for (const plan::LinearError& linear : q.linears) {
    absl::StrAppendFormat(&text, "  error of output %.5f %-14s x %-13s %s\n", linear.error,
                          linear.weight, linear.input, linear.name);
  }
  return text;
}

std::string PrintProvenance(const Plan& plan) {
  return absl::StrFormat("compiler %s\noptions  %s\nsource   %s\n",
                         plan.provenance.compiler_version, plan.provenance.options,
                         plan.provenance.source);
}

}  // namespace

const std::vector<InspectSection>& InspectSections() {
  static const auto& sections = *new std::vector<InspectSection>{
      {"model", "what generation knows of the model", PrintModel},
      {"vision", "how the model sees, if it does", PrintVision},
      {"symbols", "dimensions that a step decides", PrintSymbols},
      {"entries", "entry points", PrintEntries},
      {"passes", "what the passes changed", PrintPasses},
      {"imported", "the graph after import",
       [](const Plan& plan) { return plan.imported_graph_text; }},
      {"graph", "the graph after the last pass",
       [](const Plan& plan) { return plan.final_graph_text; }},
      {"program", "the kernel program", [](const Plan& plan) { return plan.program_text; }},
      {"launches", "kernel calls of a step, in order", PrintLaunches},
      {"buffers", "places in the arena, with lifetime and reuse", PrintBuffers},
      {"cache", "pages of keys and values", PrintCache},
      {"weights", "packed weights", PrintWeights},
      {"code", "machine code by kernel", PrintCode},
      {"cards", "functions for CUDA cards, and their weights", PrintCards},
      {"cuda", "the CUDA C++ that they were made of",
       [](const Plan& plan) { return plan.cards.has_value() ? plan.cards->source : "none\n"; }},
      {"lines", "which line of the program the code is there for", PrintLines},
      {"evidence", "how far the result is from the imported graph", PrintEvidence},
      {"provenance", "how the plan was made", PrintProvenance},
  };
  return sections;
}

}  // namespace ninfer::tools
