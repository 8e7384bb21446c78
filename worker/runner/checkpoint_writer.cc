#include "worker/runner/checkpoint_writer.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

struct TensorCopy {
  explicit TensorCopy(const TensorView& view)
      : bytes(static_cast<const char*>(view.data),
              static_cast<const char*>(view.data) + view.size_bytes()),
        dtype(view.dtype),
        shape(view.shape) {}
  std::vector<char> bytes;
  DType dtype;
  std::vector<int64_t> shape;
};

}  // namespace

CheckpointWriter::CheckpointWriter(
    std::string folder,
    std::function<void(const std::string&, const CheckpointInfo&)> on_written)
    : folder_(std::move(folder)), on_written_(std::move(on_written)) {}

CheckpointWriter::~CheckpointWriter() { Wait().IgnoreError(); }

absl::Status CheckpointWriter::Wait() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

absl::Status CheckpointWriter::Start(
    const CheckpointInfo& info,
    const std::map<std::string, TensorView>& tensors) {
  if (absl::Status before = Wait(); !before.ok()) return before;
  std::map<std::string, TensorCopy> copies;
  for (const auto& [name, view] : tensors) copies.emplace(name, view);
  busy_ = true;
  thread_ = std::thread([this, info, copies = std::move(copies)] {
    std::map<std::string, TensorView> views;
    for (const auto& [name, copy] : copies) {
      views[name] = {copy.dtype, copy.shape, copy.bytes.data()};
    }
    const std::string name = CheckpointFileName(info.step);
    status_ =
        WriteCheckpointFile(absl::StrCat(folder_, "/", name), info, views);
    if (status_.ok()) status_ = RemoveOldCheckpoints(folder_);
    if (status_.ok()) on_written_(name, info);
    busy_ = false;
  });
  return absl::OkStatus();
}

}  // namespace dasm
