// See pass.h.
// Tested by tests/compiler_options_test.cc.
#include <algorithm>
#include <map>

#include "passes/pass.h"

namespace ninfer::passes {

std::string PassOptions::weights_name() const {
  constexpr size_t kMostRules = 8;
  std::string name = weight_scheme.empty() ? std::string(DTypeName(weights)) : weight_scheme;
  const auto type_of = [](const WeightRule& rule) {
    return rule.scheme.empty() ? std::string(DTypeName(rule.dtype)) : rule.scheme;
  };
  if (weight_rules.size() <= kMostRules) {
    for (const WeightRule& rule : weight_rules) {
      absl::StrAppend(&name, "; ", rule.pattern, "=", type_of(rule));
    }
    return name;
  }
  std::map<std::string, int> types;
  for (const WeightRule& rule : weight_rules) ++types[type_of(rule)];
  absl::StrAppend(&name, "; by name");
  const char* separator = " ";
  for (const auto& [type, count] : types) {
    absl::StrAppend(&name, separator, type, " (", count, ")");
    separator = ", ";
  }
  return name;
}

std::string PassOptions::activations_name() const {
  const absl::string_view type = DTypeName(activations);
  const QuantiseScheme* inputs = FindQuantiseScheme(input_scheme);
  if (CoarsestScheme() == nullptr || inputs == nullptr) return std::string(type);
  return absl::StrCat(inputs->group == 0 ? "int8:row" : "int8", " into linears, else ", type);
}

std::string PassOptions::kv_cache_name() const {
  return kv_cache == DType::kI8 ? "int8" : std::string(DTypeName(kv_cache));
}

const QuantiseScheme* PassOptions::CoarsestScheme() const {
  const QuantiseScheme* coarsest = FindQuantiseScheme(weight_scheme);
  for (const WeightRule& rule : weight_rules) {
    const QuantiseScheme* scheme = FindQuantiseScheme(rule.scheme);
    if (scheme == nullptr) continue;
    if (coarsest == nullptr || scheme->bits < coarsest->bits) coarsest = scheme;
  }
  return coarsest;
}

bool PassOptions::HasTable() const {
  const auto is_table = [](const std::string& name) {
    const QuantiseScheme* scheme = FindQuantiseScheme(name);
    return scheme != nullptr && scheme->grid == QuantiseGrid::kTable;
  };
  return is_table(weight_scheme) ||
         std::any_of(weight_rules.begin(), weight_rules.end(),
                     [&](const WeightRule& rule) { return is_table(rule.scheme); });
}

}  // namespace ninfer::passes
