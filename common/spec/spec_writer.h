// Parts of the way from validated structs to protos, shared by presets and
// job_spec_proto.h (whose ToProto is the whole).
#ifndef DASM_COMMON_SPEC_SPEC_WRITER_H_
#define DASM_COMMON_SPEC_SPEC_WRITER_H_

#include <vector>

#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// Replaces `to`; an empty list is written as [none].
void WriteAugmentations(const std::vector<Augmentation>& from,
                        google::protobuf::RepeatedField<int>* to);
void WriteResources(const ResourceSpec& from, v1::ResourceSpec* to);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_WRITER_H_
