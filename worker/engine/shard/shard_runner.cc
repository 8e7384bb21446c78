#include "worker/engine/shard/shard_runner.h"

#include <ATen/ATen.h>

#include "absl/types/span.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

// Floats of the collective in one element.
int64_t FloatsOf(const at::Tensor& rows) {
  TORCH_CHECK(
      rows.scalar_type() == at::kFloat || rows.scalar_type() == at::kDouble,
      "shards are float32 or float64");
  TORCH_CHECK(rows.is_contiguous(), "rows of shards are contiguous");
  return rows.element_size() / static_cast<int64_t>(sizeof(float));
}

absl::Span<float> Floats(const at::Tensor& rows) {
  return absl::MakeSpan(static_cast<float*>(rows.mutable_data_ptr()),
                        rows.numel() * FloatsOf(rows));
}

at::Tensor SumHere(const at::Tensor& rows) {
  at::Tensor sum = rows[0].clone();
  for (int64_t s = 1; s < rows.size(0); ++s) sum.add_(rows[s]);
  return sum;
}

}  // namespace

at::Device ShardRunner::RowsDevice() const {
  const bool here = device_.is_cpu() || size() == 1 ||
                    collective_->memory() == Collective::Memory::kDevice;
  return here ? device_ : at::Device(at::kCPU);
}

at::Tensor ShardRunner::ComputeRows(int64_t shards, int64_t length,
                                    at::ScalarType dtype, Shard compute) const {
  at::Tensor rows =
      at::empty({shards, length}, at::TensorOptions(RowsDevice()).dtype(dtype));
  if (rank() < first_) return rows;
  for (int64_t shard = rank() - first_; shard < shards; shard += owners()) {
    compute(shard, rows.select(0, shard));
  }
  return rows;
}

absl::StatusOr<at::Tensor> ShardRunner::Sum(int64_t shards, int64_t length,
                                            at::ScalarType dtype,
                                            Shard compute) const {
  const at::Tensor rows = ComputeRows(shards, length, dtype, compute);
  if (dtype != at::kFloat) {
    DASM_RETURN_IF_ERROR(GatherInto(shards, rows));
    return SumHere(rows).to(device_);
  }
  if (!rows.is_cpu() && size() == 1) return SumHere(rows);
  const at::Tensor sum = at::empty({length}, rows.options());
  DASM_RETURN_IF_ERROR(
      collective_->SumShards(Floats(rows), shards, Floats(sum), first_));
  return sum.to(device_);
}

absl::StatusOr<at::Tensor> ShardRunner::Gather(int64_t shards, int64_t length,
                                               at::ScalarType dtype,
                                               Shard compute) const {
  const at::Tensor rows = ComputeRows(shards, length, dtype, compute);
  DASM_RETURN_IF_ERROR(GatherInto(shards, rows));
  return rows.to(device_);
}

absl::Status ShardRunner::GatherInto(int64_t shards,
                                     const at::Tensor& rows) const {
  if (!rows.is_cpu()) {
    if (size() == 1) return absl::OkStatus();
    if (collective_->memory() != Collective::Memory::kDevice) {
      const at::Tensor host = rows.cpu();
      DASM_RETURN_IF_ERROR(
          collective_->GatherShards(Floats(host), shards, first_));
      rows.copy_(host);
      return absl::OkStatus();
    }
  }
  return collective_->GatherShards(Floats(rows), shards, first_);
}

}  // namespace dasm
