// Bytes of the records' parts that a store neither indexes nor compares: CBOR
// maps, self-describing, so that a field added later needs no migration (a
// missing one reads as its default, an unknown one is skipped). Binary because
// messages and paths need not be UTF-8 and doubles keep their bits.
//
// Not in the body, for they have columns of their own: a job's id, project,
// request_id, state, create_time, spec, expanded_spec, report and manifest; a
// task's job, id, state and action_key; an action's key, state and fence.
//
// Decode fills the other fields of `record`; DATA_LOSS when the bytes are not
// such a map.
#ifndef DASM_SERVER_STORE_RECORD_CODEC_H_
#define DASM_SERVER_STORE_RECORD_CODEC_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/job/records.h"

namespace dasm {

std::string EncodeBody(const JobRecord& record);
std::string EncodeBody(const TaskRecord& record);
std::string EncodeBody(const ActionRecord& record);
absl::Status DecodeBody(std::string_view body, JobRecord* record);
absl::Status DecodeBody(std::string_view body, TaskRecord* record);
absl::Status DecodeBody(std::string_view body, ActionRecord* record);

// Nanoseconds since 1970; the ends of the range stand for InfinitePast and
// InfiniteFuture.
int64_t EncodeTime(absl::Time time);
absl::Time DecodeTime(int64_t nanoseconds);

}  // namespace dasm

#endif  // DASM_SERVER_STORE_RECORD_CODEC_H_
