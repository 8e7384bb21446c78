#include "worker/engine/dataset/set_data.h"

#include <ATen/ATen.h>

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

absl::Status BadSet(absl::string_view what) {
  return WithFailureClass(absl::FailedPreconditionError(what),
                          FailureClass::kData);
}

absl::StatusOr<SetData> ReadSet(const SafetensorsFile& file) {
  SetData set;
  DASM_ASSIGN_OR_RETURN(const TensorView images,
                        file.Get("images", DType::kF32, 4));
  DASM_ASSIGN_OR_RETURN(const TensorView labels,
                        file.Get("labels", DType::kI64, 1));
  DASM_ASSIGN_OR_RETURN(const TensorView segment,
                        file.Get("segment", DType::kI32, 1));
  set.images = CopyTensor(images);
  set.labels = CopyTensor(labels);
  set.segment = CopyTensor(segment);
  const auto factor = file.metadata().find("factor");
  if (factor == file.metadata().end() ||
      !absl::SimpleAtoi(factor->second, &set.factor) || set.factor < 1) {
    return BadSet("no metadata \"factor\" of at least 1");
  }
  if (file.tensors().contains("source")) {
    DASM_ASSIGN_OR_RETURN(const TensorView source,
                          file.Get("source", DType::kI64, 2));
    set.source = CopyTensor(source);
  }
  const int64_t count = set.images.size(0);
  if (set.labels.size(0) != count || set.segment.size(0) != count ||
      (set.source.defined() && set.source.size(0) != count)) {
    return BadSet("images, labels, segment and source differ in length");
  }
  return set;
}

}  // namespace

absl::StatusOr<SetData> LoadSet(const std::string& path) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) {
    return WithFailureClass(file.status(), FailureClass::kData);
  }
  auto set = ReadSet(**file);
  if (!set.ok()) {
    return WithFailureClass(WithContext(set.status(), path),
                            FailureClass::kData);
  }
  return set;
}

absl::StatusOr<SetData> ConcatenateSets(const std::vector<SetData>& sets) {
  std::vector<at::Tensor> images, labels, segments, sources;
  for (const SetData& set : sets) {
    if (set.factor != sets[0].factor ||
        set.images.sizes().slice(1) != sets[0].images.sizes().slice(1)) {
      return BadSet("sets of different image shape or factor cannot be joined");
    }
    images.push_back(set.images);
    labels.push_back(set.labels);
    segments.push_back(set.segment);
    if (set.source.defined()) sources.push_back(set.source);
  }
  SetData all;
  all.images = at::cat(images);
  all.labels = at::cat(labels);
  all.segment = at::cat(segments);
  if (sources.size() == sets.size()) all.source = at::cat(sources);
  all.factor = sets[0].factor;
  return all;
}

}  // namespace dasm
