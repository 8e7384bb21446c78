// What the tests and the bench of a device share: the plug-in, opened once as
// the runner opens it, and a tiny data set.
#ifndef DASM_TESTS_GPU_GPU_FIXTURE_H_
#define DASM_TESTS_GPU_GPU_FIXTURE_H_

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include "common/base/file_system.h"
#include "common/base/temporary_directory.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/load_plugin.h"
#include "worker/engine/task/fake_task_observer.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {

inline void Require(const absl::Status& status) {
  if (status.ok()) return;
  std::cerr << "error: " << status << std::endl;
  std::_Exit(1);
}

// Ends the process where there is no device: these programs are for machines
// that have one.
inline DevicePlugin* Gpu() {
  static DevicePlugin* const plugin = [] {
    InitEngine();
    auto loaded = LoadPlugin(DefaultPluginPath());
    Require(loaded.status());
    Require((*loaded)->Initialize(0));
    InstallPlugin(*loaded);
    return *loaded;
  }();
  return plugin;
}

// Runs a task alone on "cuda:0" or "cpu" in a folder of its own.
class GpuTask {
 public:
  explicit GpuTask(const TinyData& data) {
    auto folder = TemporaryDirectory::Create();
    Require(folder.status());
    folder_ = *std::move(folder);
    Put("dataset", TinyDatasetBlob(data));
    files_.output_dir = folder_->path();
  }
  void Put(const std::string& input, const std::string& bytes) {
    const std::string path = folder_->path() + "/in." + input;
    Require(WriteFileAtomically(LocalFileSystem(), path, bytes));
    files_.inputs[input] = path;
  }
  absl::StatusOr<TaskOutcome> Run(const TaskParameters& parameters,
                                  const std::string& device,
                                  TaskObserver* observer) {
    if (device != "cpu") Gpu();
    SingleProcessCollective alone;
    return RunTask(parameters, files_, device, &alone, observer);
  }
  // The bytes of an output of the last run.
  std::string Read(const TaskOutcome& outcome, const std::string& output) {
    return *LocalFileSystem()->Read(folder_->path() + "/" +
                                    outcome.outputs.at(output));
  }

 private:
  std::unique_ptr<TemporaryDirectory> folder_;
  TaskFiles files_;
};

}  // namespace dasm

#endif  // DASM_TESTS_GPU_GPU_FIXTURE_H_
