// From a merged proto to validated structs: the parts that no other reader has
// (network_reader.h, sequence_reader.h, trajectory_reader.h,
// evaluation_reader.h). Every scalar is set, by the defaults at least.
#ifndef DASM_COMMON_SPEC_SPEC_READER_H_
#define DASM_COMMON_SPEC_SPEC_READER_H_

#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// `recipe`: CIFAR-100 is normalised otherwise by DC than by IDC.
DatasetSpec ReadDataset(const v1::DatasetSpec& from, Recipe recipe,
                        FieldReader* reader);
// `later_segments` may follow the first.
GradientMatchingSpec ReadMatching(const v1::GradientMatching& from,
                                  bool later_segments, FieldReader* reader);
// `norm` is the network's.
ExecutionSpec ReadExecution(const v1::ExecutionSpec& from, Norm norm,
                            FieldReader* reader);
// `distils` is false for an existing set. Whether resources.trainer_rank has
// anything to do is CheckTrainerRank's.
ResourceSpec ReadResources(const v1::ResourceSpec& from,
                           const ExecutionSpec& execution, bool distils,
                           FieldReader* reader);
void CheckTrainerRank(const JobSpec& spec, FieldReader* reader);
SyntheticSetSpec ReadSet(const v1::SyntheticSetSpec& from, FieldReader* reader);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_READER_H_
