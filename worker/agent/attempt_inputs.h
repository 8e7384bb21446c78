// What a runner is given: its inputs, verified in the cache, and task.json.
#ifndef DASM_WORKER_AGENT_ATTEMPT_INPUTS_H_
#define DASM_WORKER_AGENT_ATTEMPT_INPUTS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/file_system.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "dasm/worker/v1/worker_service.pb.h"
#include "worker/agent/blob_cache.h"

namespace dasm {

// Runs the call it is given until it succeeds, fails for good, or is not wanted
// any more.
using RepeatCall =
    std::function<absl::Status(const std::function<absl::Status()>&)>;

// Brings every input of `assignment` into the cache, several at a time, and
// notes its path in `file` and its pin in `pins`. `repeat` is called from
// several threads. The first error, naming the input.
absl::Status FetchInputs(const worker::v1::Assignment& assignment,
                         BlobCache* cache, const RepeatCall& repeat,
                         worker::v1::TaskFile* file,
                         std::vector<BlobCache::Pin>* pins);

// `directory`/task.json, readable by this user alone: it holds the token.
absl::Status WriteTaskFile(const worker::v1::TaskFile& file,
                           const std::string& directory, FileSystem* fs);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_ATTEMPT_INPUTS_H_
