// Writes checkpoint files while the computation goes on: what it is given is
// copied, and a thread of its own writes and syncs it.
//
// Errors: that of a file comes with the next Start() or Wait(), and stays.
// Threads: used by one thread; busy() from any.
#ifndef DASM_WORKER_RUNNER_CHECKPOINT_WRITER_H_
#define DASM_WORKER_RUNNER_CHECKPOINT_WRITER_H_

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "common/artifact/safetensors.h"
#include "worker/runner/checkpoint.h"

namespace dasm {

class CheckpointWriter {
 public:
  // `on_written` is called from the writing thread once the file of that name
  // lies complete and synced in `folder`, of which the two newest are kept.
  CheckpointWriter(
      std::string folder,
      std::function<void(const std::string& name, const CheckpointInfo& info)>
          on_written);
  // Waits.
  ~CheckpointWriter();

  // Waits for the file before. Throws std::bad_alloc when there is no memory
  // for a copy.
  absl::Status Start(const CheckpointInfo& info,
                     const std::map<std::string, TensorView>& tensors);
  absl::Status Wait();
  // Whether a Start() would wait.
  bool busy() const { return busy_.load(); }

 private:
  const std::string folder_;
  const std::function<void(const std::string&, const CheckpointInfo&)>
      on_written_;
  std::atomic<bool> busy_ = false;
  absl::Status status_;  // of the thread until it is joined
  std::thread thread_;
};

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_CHECKPOINT_WRITER_H_
