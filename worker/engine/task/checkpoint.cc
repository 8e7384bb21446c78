#include "worker/engine/task/checkpoint.h"

#include <ATen/ATen.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {
namespace {

constexpr char kAction[] = "action";

// FNV-1a.
uint64_t Hash(const std::map<std::string, at::Tensor>& tensors) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const auto& [name, tensor] : tensors) {
    const TensorView view = ViewOf(tensor);
    const auto* bytes = static_cast<const unsigned char*>(view.data);
    for (int64_t i = 0; i < view.size_bytes(); ++i) {
      hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    }
  }
  return hash;
}

absl::Status CompareAcrossRanks(const ShardRunner& runner, uint64_t hash) {
  // A float holds 16 bits exactly.
  constexpr int kParts = 4;
  DASM_ASSIGN_OR_RETURN(
      at::Tensor rows,
      runner.Gather(runner.size(), kParts, at::kFloat,
                    [&](int64_t, const at::Tensor& row) {
                      for (int part = 0; part < kParts; ++part) {
                        row[part].fill_(
                            static_cast<int64_t>(hash >> (16 * part) & 0xffff));
                      }
                    }));
  rows = rows.cpu();
  const float* values = rows.const_data_ptr<float>();
  for (int64_t i = kParts; i < rows.numel(); ++i) {
    if (values[i] != values[i % kParts]) {
      return absl::InternalError(absl::StrCat(
          "the state of rank ", i / kParts,
          " differs from that of rank 0, though both computed the same: a "
          "fault of the machine, or ranks of different numerics classes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SaveCheckpoint(const TaskContext& context, int64_t step,
                            const std::map<std::string, at::Tensor>& tensors,
                            const std::map<std::string, at::Tensor>& finished) {
  std::map<std::string, at::Tensor> host;
  for (const auto& [name, tensor] : tensors) {
    host[name] = tensor.detach().to(at::kCPU).contiguous();
  }
  DASM_RETURN_IF_ERROR(CompareAcrossRanks(
      ShardRunner(context.collective, context.device), Hash(host)));
  for (const auto& [name, tensor] : host) {
    if (!tensor.isfinite().all().item<bool>()) {
      return WithFailureClass(
          absl::FailedPreconditionError(absl::StrCat(
              "step ", step, ": \"", name, "\" is no longer finite")),
          FailureClass::kNumeric);
    }
  }
  if (!context.InCharge()) return absl::OkStatus();
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : host) views[name] = ViewOf(tensor);
  for (const auto& [name, tensor] : finished) views[name] = ViewOf(tensor);
  views[kAction] = {DType::kU8,
                    {static_cast<int64_t>(context.action.size())},
                    context.action.data()};
  return context.observer->WriteCheckpoint(step, views);
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenCheckpoint(
    const TaskContext& context) {
  const std::string& path = context.files.checkpoint;
  if (path.empty()) return nullptr;
  DASM_ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file,
                        SafetensorsFile::Open(path));
  DASM_ASSIGN_OR_RETURN(const TensorView action,
                        file->Get(kAction, DType::kU8, 1));
  if (std::string_view(static_cast<const char*>(action.data),
                       action.size_bytes()) != context.action) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " is a checkpoint of another action; remove it to start afresh"));
  }
  return file;
}

absl::StatusOr<TaskObserver::Wish> PollTogether(const TaskContext& context) {
  char wish = 0;
  if (context.InCharge()) {
    wish = static_cast<char>(context.observer->Poll());
  }
  DASM_RETURN_IF_ERROR(context.collective->Broadcast(absl::MakeSpan(&wish, 1)));
  return static_cast<TaskObserver::Wish>(wish);
}

}  // namespace dasm
