// For tests of tasks: a small prepared data set, and a gang of threads that
// runs a task in a folder of its own.
#ifndef DASM_WORKER_ENGINE_TASK_TINY_GANG_H_
#define DASM_WORKER_ENGINE_TASK_TINY_GANG_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/temporary_directory.h"
#include "worker/collective/faulty_collective.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/task/fake_task_observer.h"
#include "worker/engine/task/task.h"

namespace dasm {

struct TinyData {
  ImageShape shape = {1, 8, 8};
  int classes = 3;
  int train_per_class = 24;
  int test_per_class = 8;
};

// The bytes of a `dataset` blob: each class is a pattern of its own, an image
// is its pattern plus noise. Labels go round: 0, 1, 2, 0, ...
std::string TinyDatasetBlob(const TinyData& data);

struct GangRun {
  absl::Status status;  // of rank 0
  std::vector<absl::Status> all;
  nlohmann::json summary;
  std::map<std::string, std::string> outputs;  // name -> bytes, of rank 0
  FakeTaskObserver observer;                   // of rank 0
};

class TinyGang {
 public:
  TinyGang();

  int ranks = 1;
  // Of rank 0 of the next run.
  std::map<int64_t, TaskObserver::Wish> wishes;
  absl::Status checkpoint_status;
  std::string checkpoint;  // bytes to resume from
  CollectiveFault fault;   // of the last rank
  RunOptions options;
  // In place of options.make_graph.
  std::function<std::unique_ptr<StepGraph>(int rank)> make_graph_of_rank;

  // `inputs`: name -> bytes.
  GangRun Run(const TaskParameters& parameters,
              const std::map<std::string, std::string>& inputs);

 private:
  std::unique_ptr<TemporaryDirectory> folder_;
  int runs_ = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TINY_GANG_H_
