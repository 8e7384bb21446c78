// Identifiers that are types, so that a job id is never passed for a task id.
#ifndef DASM_COMMON_BASE_IDS_H_
#define DASM_COMMON_BASE_IDS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dasm {

// A random (version 4) UUID in lower case.
std::string NewUuid();
// "j" and ten random characters of [a-z0-9]: a DNS-like job id.
std::string NewJobId();
// 2 x `bytes` hex digits from the system's random source.
std::string RandomHex(int bytes);

// "projects/{project}/jobs/{job}".
struct JobName {
  std::string project;
  std::string job;

  std::string ToString() const;
  // Takes the full form, "jobs/{job}" or "{job}" (project "default").
  static absl::StatusOr<JobName> Parse(std::string_view text);
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_IDS_H_
