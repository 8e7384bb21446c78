#include "worker/engine/task/pool_file.h"

#include <ATen/ATen.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

absl::Status Bad(const absl::Status& status, const std::string& path) {
  return WithFailureClass(WithContext(status, path), FailureClass::kData);
}

template <typename T>
absl::Status Read(const SafetensorsFile& file, const std::string& name,
                  DType dtype, int64_t images, std::vector<T>* out) {
  DASM_ASSIGN_OR_RETURN(const TensorView view, file.Get(name, dtype, 1));
  if (view.elements() != images) {
    return absl::FailedPreconditionError(
        absl::StrCat("\"", name, "\" is of ", view.elements(),
                     " images, the data set has ", images));
  }
  const T* first = static_cast<const T*>(view.data);
  out->assign(first, first + images);
  return absl::OkStatus();
}

template <typename T>
at::Tensor ToFloat(const std::vector<T>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat);
}

}  // namespace

std::string RuleName(PoolRule rule) {
  return nlohmann::json(rule).get<std::string>();
}

absl::StatusOr<PoolFile> LoadPool(const std::string& path, int64_t images) {
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return Bad(file.status(), path);
  PoolFile pool;
  absl::Status status =
      Read(**file, "members", DType::kU8, images, &pool.members);
  if (status.ok()) {
    status = Read(**file, "weight", DType::kF32, images, &pool.weight);
  }
  if (status.ok()) {
    status = Read(**file, "learned", DType::kU8, images, &pool.learned);
  }
  if (!status.ok()) return Bad(status, path);
  const auto rule = (*file)->metadata().find("rule");
  if (rule != (*file)->metadata().end()) {
    pool.rule = nlohmann::json(rule->second).get<PoolRule>();
  }
  return pool;
}

absl::StatusOr<std::vector<ClassPool>> LoadClassPools(const TaskFiles& files,
                                                      const ImageData& data) {
  std::vector<ClassPool> pools(data.classes());
  if (!HasInput(files, "pool")) return pools;
  DASM_ASSIGN_OR_RETURN(const std::string path, InputPath(files, "pool"));
  DASM_ASSIGN_OR_RETURN(const PoolFile pool,
                        LoadPool(path, data.train().size()));
  for (int c = 0; c < data.classes(); ++c) {
    for (int64_t i : data.train_by_class()[c]) {
      if (!pool.members[i]) continue;
      pools[c].members.push_back(i);
      if (pool.rule == PoolRule::kWeighted) {
        pools[c].weights.push_back(pool.weight[i]);
      }
    }
  }
  return pools;
}

absl::Status WritePool(const Pool& pool, const SampleStatistics& statistics,
                       Outputs* outputs) {
  return outputs->Write("pool",
                        {{"members", at::tensor(pool.members, at::kByte)},
                         {"weight", at::tensor(pool.weight, at::kFloat)},
                         {"learned", at::tensor(statistics.learned, at::kByte)},
                         {"loss", ToFloat(statistics.loss)},
                         {"el2n", ToFloat(statistics.el2n)}},
                        {{"rule", RuleName(pool.rule)}});
}

}  // namespace dasm
