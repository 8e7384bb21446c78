#include "common/spec/job_spec.h"

#include "absl/strings/str_cat.h"

namespace dasm {

std::string NetworkSpec::ToString() const {
  return absl::StrCat(name, "-d", depth, "-w", width, "-",
                      nlohmann::json(norm).get<std::string>());
}

std::string JobSpec::Method() const {
  if (synthetic_set.has_value()) return "evaluate";
  return sequence.segments.size() > 1 ? "dasm" : "idc";
}

}  // namespace dasm
