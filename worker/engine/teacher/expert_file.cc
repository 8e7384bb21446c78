#include "worker/engine/teacher/expert_file.h"

#include <ATen/ATen.h>

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

constexpr char kTrajectory[] = "trajectory";
constexpr char kBuffers[] = "buffers";

absl::Status BadExpert(const std::string& path, absl::string_view what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat("expert ", path, ": ", what)),
      FailureClass::kData);
}

absl::Status Storage(absl::Status status) {
  return status.ok()
             ? status
             : WithFailureClass(std::move(status), FailureClass::kStorage);
}

std::string_view Bytes(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// The first member of `wanted` that `found` has another value of.
std::string Difference(const nlohmann::json& found,
                       const nlohmann::json& wanted) {
  for (const auto& [name, value] : wanted.items()) {
    const auto at = found.find(name);
    if (at == found.end()) return absl::StrCat("no ", name);
    if (*at != value) {
      return absl::StrCat(name, " ", at->dump(), " where ", value.dump(),
                          " is needed");
    }
  }
  return "";
}

}  // namespace

std::map<std::string, std::string> ExpertMetadata(const NetworkSpec& network,
                                                  int epochs,
                                                  const ImageData& data) {
  const ImageShape shape = data.shape();
  const nlohmann::json identity = {{"name", data.name()},
                                   {"preprocessing", data.preprocessing()},
                                   {"classes", data.classes()},
                                   {"channels", shape.channels},
                                   {"height", shape.height},
                                   {"width", shape.width},
                                   {"train_images", data.train().size()}};
  return {{"network", nlohmann::json(network).dump()},
          {"epochs", absl::StrCat(epochs)},
          {"data", identity.dump()}};
}

absl::StatusOr<std::unique_ptr<ExpertFile>> ExpertFile::Open(
    const std::string& path, const NetworkIdentity& network,
    const ImageData& data, int epochs) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return BadExpert(path, file.status().message());
  for (const auto& [name, text] : ExpertMetadata(network.spec, epochs, data)) {
    if (name == "epochs") continue;
    const auto found = (*file)->metadata().find(name);
    const nlohmann::json value =
        found == (*file)->metadata().end()
            ? nlohmann::json()
            : nlohmann::json::parse(found->second, nullptr, false);
    if (!value.is_object()) {
      return BadExpert(path, absl::StrCat("no metadata \"", name,
                                          "\": it is not an expert"));
    }
    const std::string difference =
        Difference(value, nlohmann::json::parse(text));
    if (difference.empty()) continue;
    return BadExpert(path,
                     absl::StrCat("it was trained with another ", name, " (",
                                  difference, "); train experts for this one"));
  }
  auto trajectory = (*file)->Get(kTrajectory, DType::kF32, 2);
  if (!trajectory.ok()) return BadExpert(path, trajectory.status().message());
  const int64_t parameters = network.network.parameters().total();
  if (trajectory->shape[1] != parameters || trajectory->shape[0] < 1) {
    return BadExpert(
        path, absl::StrCat("its trajectory is [", trajectory->shape[0], ", ",
                           trajectory->shape[1], "] where the network has ",
                           parameters, " parameters"));
  }
  std::unique_ptr<ExpertFile> expert(new ExpertFile());
  expert->path_ = path;
  expert->epochs_ = static_cast<int>(trajectory->shape[0]) - 1;
  if (expert->epochs_ < epochs) {
    return BadExpert(
        path, absl::StrCat("it has ", expert->epochs_, " epochs, ", epochs,
                           " are needed; raise experts.epochs or lower "
                           "start_epoch_max"));
  }
  expert->trajectory_ = BorrowTensor(*trajectory);
  const int64_t values = network.network.buffers().total();
  if (values == 0) {
    expert->buffers_ = at::empty({expert->epochs_ + 1, 0}, at::kFloat);
  } else {
    const auto buffers = (*file)->Get(kBuffers, DType::kF32, 2);
    if (!buffers.ok()) return BadExpert(path, buffers.status().message());
    if (buffers->shape != std::vector<int64_t>{trajectory->shape[0], values}) {
      return BadExpert(path, "its buffers are not those of the network");
    }
    expert->buffers_ = BorrowTensor(*buffers);
  }
  expert->file_ = *std::move(file);
  return expert;
}

at::Tensor ExpertFile::Parameters(int epoch) const {
  return trajectory_[epoch].clone();
}

at::Tensor ExpertFile::Buffers(int epoch) const {
  return buffers_[epoch].clone();
}

absl::StatusOr<std::unique_ptr<ExpertWriter>> ExpertWriter::Create(
    const std::string& path, const NetworkIdentity& network, int epochs,
    const ImageData& data) {
  const int64_t parameters = network.network.parameters().total();
  const int64_t buffers = network.network.buffers().total();
  std::map<std::string, TensorView> tensors = {
      {kTrajectory, {DType::kF32, {epochs + 1, parameters}, nullptr}}};
  if (buffers > 0) {
    tensors[kBuffers] = {DType::kF32, {epochs + 1, buffers}, nullptr};
  }
  auto file = SafetensorsWriter::Create(
      path, tensors, ExpertMetadata(network.spec, epochs, data));
  if (!file.ok()) return Storage(file.status());
  return std::unique_ptr<ExpertWriter>(
      new ExpertWriter(*std::move(file), parameters, buffers));
}

absl::Status ExpertWriter::Write(int from, const at::Tensor& parameters,
                                 const at::Tensor& buffers) {
  const auto write = [&](const char* name, int64_t length,
                         const at::Tensor& rows) {
    TORCH_CHECK(rows.is_cpu() && rows.is_contiguous() &&
                    rows.scalar_type() == at::kFloat && rows.dim() == 2 &&
                    rows.size(1) == length,
                "expected rows of ", length, " floats on the host");
    return file_->Write(
        name, from * length * static_cast<int64_t>(sizeof(float)), Bytes(rows));
  };
  DASM_RETURN_IF_ERROR(Storage(write(kTrajectory, parameters_, parameters)));
  if (buffers_ == 0) return absl::OkStatus();
  return Storage(write(kBuffers, buffers_, buffers));
}

absl::StatusOr<std::map<std::string, at::Tensor>> ExpertWriter::Rows(
    int rows) const {
  std::map<std::string, at::Tensor> tensors;
  for (const char* name : {kTrajectory, kBuffers}) {
    if (name == kBuffers && buffers_ == 0) continue;
    const auto view = file_->View(name);
    if (!view.ok()) return Storage(view.status());
    tensors[name] = BorrowTensor(*view).narrow(0, 0, rows);
  }
  return tensors;
}

absl::Status ExpertWriter::Commit() { return Storage(file_->Commit()); }

}  // namespace dasm
