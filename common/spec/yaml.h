// The job file: strict YAML or JSON for dasm.v1.JobSpec.
#ifndef DASM_COMMON_SPEC_YAML_H_
#define DASM_COMMON_SPEC_YAML_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dasm/v1/job.pb.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace dasm {

// INVALID_ARGUMENT with the field path and "line N": an unknown field (the
// message names the nearest known one), a wrong type, an unknown enum value, a
// duplicate key, an alias or anchor, a bare yes/no/on/off, a number that is
// not finite, a file above 1 MiB, more than 32 levels.
absl::StatusOr<v1::JobSpec> ParseJobFile(std::string_view text);

// Sets "matching.gradient.inits=8" (value as YAML) on top of `spec`.
// INVALID_ARGUMENT as above.
absl::Status ApplySetting(std::string_view assignment, v1::JobSpec* spec);

// Block YAML of the set fields, in field order: ParseJobFile of it gives the
// same message.
std::string ToYaml(const v1::JobSpec& spec);

// The set fields of a message of job.proto's spec as the job file has them
// (field names, lower-case enum values), in field order. Also a job file.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_YAML_H_
