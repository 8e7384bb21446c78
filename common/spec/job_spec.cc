#include "common/spec/job_spec.h"

#include "absl/strings/str_cat.h"

namespace dasm {

std::string NetworkSpec::ToString() const {
  if (name != "convnet") {
    return norm == Norm::kNone
               ? name
               : absl::StrCat(name, "-",
                              nlohmann::json(norm).get<std::string>());
  }
  return absl::StrCat(name, "-d", depth, "-w", width, "-",
                      nlohmann::json(norm).get<std::string>());
}

std::string JobSpec::Method() const {
  if (synthetic_set.has_value()) return "evaluate";
  const bool one_segment = sequence.segments.size() <= 1;
  if (!trajectory.has_value()) return one_segment ? "idc" : "dasm";
  if (one_segment) return "trajectory";
  return sequence.seqmatch ? "seqmatch" : "dasm-trajectory";
}

}  // namespace dasm
