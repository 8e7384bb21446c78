// Takes what a runner wrote, checkpoints and results, to the coordinator:
// hashed, uploaded, then committed under the attempt's fence.
#ifndef DASM_WORKER_AGENT_ATTEMPT_COMMITTER_H_
#define DASM_WORKER_AGENT_ATTEMPT_COMMITTER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/base/file_system.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/agent/attempt_inputs.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/coordinator_link.h"

namespace dasm {

// Thread-safe. Borrows the three.
class AttemptCommitter {
 public:
  struct Options {
    std::string worker;
    std::string task;
    uint64_t fence = 0;
    std::string directory;  // of the attempt
  };
  AttemptCommitter(Options options, FileSystem* fs,
                   CoordinatorLink* coordinator, BlobCache* cache)
      : options_(std::move(options)),
        fs_(fs),
        coordinator_(coordinator),
        cache_(cache) {}

  //   INVALID_ARGUMENT  a file outside the attempt's folder
  //   ABORTED           the attempt was replaced
  // and what hashing and the coordinator answer.
  absl::Status CommitCheckpoint(
      const worker::v1::CheckpointWritten& written) const;

  // Outputs that were committed are moved into the cache, where the next task
  // probably reads them. Errors as above; their message says what could not be
  // done.
  absl::Status CommitResult(const worker::v1::RunnerFinished& finished,
                            const RepeatCall& repeat) const;

 private:
  const Options options_;
  FileSystem* const fs_;
  CoordinatorLink* const coordinator_;
  BlobCache* const cache_;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_ATTEMPT_COMMITTER_H_
