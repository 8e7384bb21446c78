#include "worker/agent/attempt_committer.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr int kMissingBlobTries = 3;

// A name the runner gave, so that it cannot lead out of `folder`.
absl::StatusOr<std::string> Inside(const std::string& folder,
                                   const std::string& name) {
  if (name.empty() || absl::StrContains(name, "..") || name[0] == '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("the runner named a file outside its folder: ", name));
  }
  return absl::StrCat(folder, "/", name);
}

}  // namespace

absl::Status AttemptCommitter::CommitCheckpoint(
    const worker::v1::CheckpointWritten& written) const {
  DASM_ASSIGN_OR_RETURN(const std::string path,
                        Inside(options_.directory, written.file()));
  DASM_ASSIGN_OR_RETURN(const Hasher::Result hashed, HashFile(fs_, path));
  DASM_RETURN_IF_ERROR(
      coordinator_->Upload(hashed.digest, hashed.size_bytes, path));
  worker::v1::CommitCheckpointRequest request;
  request.set_worker(options_.worker);
  request.set_task(options_.task);
  request.set_fence(options_.fence);
  request.set_digest(hashed.digest);
  request.set_size_bytes(hashed.size_bytes);
  request.set_step(written.step());
  request.set_seconds(written.seconds());
  return coordinator_->CommitCheckpoint(request);
}

absl::Status AttemptCommitter::CommitResult(
    const worker::v1::RunnerFinished& finished,
    const RepeatCall& repeat) const {
  worker::v1::CommitResultRequest request;
  request.set_worker(options_.worker);
  request.set_task(options_.task);
  request.set_fence(options_.fence);
  request.set_summary_json(finished.summary_json());
  request.set_seconds(finished.seconds());
  std::vector<std::string> paths;
  const auto hash = [&]() -> absl::Status {
    for (const auto& [name, file] : finished.outputs()) {
      DASM_ASSIGN_OR_RETURN(
          paths.emplace_back(),
          Inside(absl::StrCat(options_.directory, "/out"), file));
      DASM_ASSIGN_OR_RETURN(const Hasher::Result hashed,
                            HashFile(fs_, paths.back()));
      worker::v1::TaskOutput* output = request.add_outputs();
      output->set_output(name);
      output->set_digest(hashed.digest);
      output->set_size_bytes(hashed.size_bytes);
      for (const std::string& chunk : hashed.chunk_digests) {
        output->add_chunk_digests(chunk);
      }
    }
    return absl::OkStatus();
  };
  DASM_RETURN_IF_ERROR(WithContext(hash(), "output"));
  // What was uploaded is not sent again with every try.
  int uploaded = 0;
  const auto commit = [&]() -> absl::Status {
    for (; uploaded < request.outputs_size(); ++uploaded) {
      DASM_RETURN_IF_ERROR(coordinator_->Upload(
          request.outputs(uploaded).digest(),
          request.outputs(uploaded).size_bytes(), paths[uploaded]));
    }
    return coordinator_->CommitResult(request);
  };
  absl::Status status;
  for (int i = 0; i < kMissingBlobTries; ++i) {
    status = repeat(commit);
    if (ReasonOf(status) != "MISSING_BLOBS") break;
    uploaded = 0;
  }
  if (!status.ok()) {
    return WithContext(status, "the result could not be stored");
  }
  for (int i = 0; i < request.outputs_size(); ++i) {
    const absl::Status admitted = cache_->Admit(
        request.outputs(i).digest(), request.outputs(i).size_bytes(), paths[i]);
    if (!admitted.ok()) {
      DASM_LOG(INFO, "output not cached").Kv("error", admitted.message());
    }
  }
  return absl::OkStatus();
}

}  // namespace dasm
