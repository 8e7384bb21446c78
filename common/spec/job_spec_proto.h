// From what a user wrote to what the planner reads: presets, defaults,
// validation. The only place where a JobSpec is checked.
#ifndef DASM_COMMON_SPEC_JOB_SPEC_PROTO_H_
#define DASM_COMMON_SPEC_JOB_SPEC_PROTO_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

struct ExpandedSpec {
  JobSpec spec;
  // `spec` as a proto with every field set.
  v1::JobSpec proto;
  // Field path -> "spec", "preset", "default" or "derived".
  std::map<std::string, std::string> origins;
};

// INVALID_ARGUMENT (common/base/error.h: InvalidField) for an unknown field or
// enum number, a preset that does not exist (the message names the nearest), a
// value out of range, a wrong combination. What needs the data set (IPC above
// the class size, factor against image side) is checked by the coordinator
// with ValidateAgainstDataset.
absl::StatusOr<ExpandedSpec> ExpandSpec(const v1::JobSpec& given);

// `spec` with every field that has a meaning for its method: what expands to
// the same spec again. One segment is written as one_segment.
v1::JobSpec ToProto(const JobSpec& spec);

// What a data set's headers tell (common/dataset/source.h).
struct DatasetFacts {
  int classes = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t train_images = 0;
  int64_t test_images = 0;
  int64_t smallest_class = 0;  // 0: unknown
};

// INVALID_ARGUMENT naming the field: images_per_class above the class size,
// synthesis.factor above the image side, a network too deep for the image, a
// batch above the class, ...
absl::Status ValidateAgainstDataset(const JobSpec& spec,
                                    const DatasetFacts& facts);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_JOB_SPEC_PROTO_H_
