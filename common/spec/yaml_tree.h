// The tree of a YAML or JSON text, with what decides a value's meaning: its
// line and whether it was quoted.
#ifndef DASM_COMMON_SPEC_YAML_TREE_H_
#define DASM_COMMON_SPEC_YAML_TREE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  Kind kind = Kind::kNull;
  int line = 0;  // 0: not from a file
  std::string text;
  bool quoted = false;
  std::vector<YamlNode> items;  // of a sequence; of a mapping: key, value, ...
};

// INVALID_ARGUMENT (field "spec", with the line): not UTF-8, not well-formed,
// empty, above 1 MiB, more than 32 levels or one document, an anchor, alias or
// tag. Duplicate keys are the caller's to find.
absl::StatusOr<YamlNode> ReadYamlTree(std::string_view text);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_YAML_TREE_H_
