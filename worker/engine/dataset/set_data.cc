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
  const auto space = file.metadata().find("space");
  if (space != file.metadata().end() && space->second != "pixel") {
    if (space->second != "preprocessed") {
      return BadSet(absl::StrCat("metadata \"space\" is \"", space->second,
                                 "\", not pixel or preprocessed"));
    }
    set.preprocessed = true;
    const auto whitening = file.metadata().find(kWhitening);
    if (whitening != file.metadata().end()) set.whitening = whitening->second;
  }
  if (file.tensors().contains("label_logits")) {
    DASM_ASSIGN_OR_RETURN(const TensorView logits,
                          file.Get("label_logits", DType::kF32, 2));
    set.label_logits = CopyTensor(logits);
  }
  if (file.tensors().contains("step_size")) {
    DASM_ASSIGN_OR_RETURN(const TensorView step_size,
                          file.Get("step_size", DType::kF32, 1));
    set.step_size = CopyTensor(step_size);
    // In this form NaN fails too.
    if (!((set.step_size > 0).all().item<bool>() &&
          set.step_size.isfinite().all().item<bool>())) {
      return BadSet(
          "its step_size is not above 0; distil it again with "
          "matching.trajectory.step_size_form clamped or log");
    }
  }
  const int64_t count = set.images.size(0);
  if (set.labels.size(0) != count || set.segment.size(0) != count ||
      (set.source.defined() && set.source.size(0) != count) ||
      (set.label_logits.defined() && set.label_logits.size(0) != count)) {
    return BadSet(
        "images, labels, segment, source and label_logits differ in length");
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
  std::vector<at::Tensor> images, labels, segments, sources, logits, steps;
  for (const SetData& set : sets) {
    if (set.factor != sets[0].factor ||
        set.images.sizes().slice(1) != sets[0].images.sizes().slice(1)) {
      return BadSet("sets of different image shape or factor cannot be joined");
    }
    if (set.preprocessed != sets[0].preprocessed) {
      return BadSet(
          "sets in pixel space and preprocessed ones cannot be joined");
    }
    if (set.whitening != sets[0].whitening) {
      return BadSet("sets of different whitenings cannot be joined");
    }
    if (set.label_logits.defined() != sets[0].label_logits.defined()) {
      return BadSet("sets with soft labels and without cannot be joined");
    }
    if (set.label_logits.defined()) {
      if (set.label_logits.size(1) != sets[0].label_logits.size(1)) {
        return BadSet("soft labels of different numbers of classes");
      }
      logits.push_back(set.label_logits);
    }
    if (set.step_size.defined()) steps.push_back(set.step_size);
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
  if (!logits.empty()) all.label_logits = at::cat(logits);
  if (steps.size() == sets.size()) all.step_size = at::cat(steps);
  all.factor = sets[0].factor;
  all.preprocessed = sets[0].preprocessed;
  all.whitening = sets[0].whitening;
  return all;
}

}  // namespace dasm
