// How a set is distilled in segments: from a merged proto to a validated spec.
#ifndef DASM_COMMON_SPEC_SEQUENCE_READER_H_
#define DASM_COMMON_SPEC_SEQUENCE_READER_H_

#include <vector>

#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// The schedule of dasm: two halves up to 100 images per class, then segments of
// 50.
std::vector<int> DasmSegments(int images_per_class);

// The schedule of seqmatch: `subsets` of them (at most as many as images), as
// even as possible, larger ones first.
std::vector<int> SeqMatchSegments(int images_per_class, int subsets);

// Without stages, which trajectory_reader.h adds. Without segments in `from`,
// those of the schedule; seqmatch then has two.
// `trajectories`: these are matched, not gradients.
SequenceSpec ReadSequence(const v1::SequenceSpec& from, int images_per_class,
                          bool trajectories, FieldReader* reader);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SEQUENCE_READER_H_
