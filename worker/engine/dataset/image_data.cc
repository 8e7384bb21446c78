#include "worker/engine/dataset/image_data.h"

#include <ATen/ATen.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

absl::Status BadData(const std::string& path, absl::string_view what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(path, ": ", what)),
      FailureClass::kData);
}

absl::StatusOr<nlohmann::json> MetadataList(const SafetensorsFile& file,
                                            const std::string& path,
                                            const std::string& name) {
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end()) {
    return BadData(path, absl::StrCat("no metadata \"", name, "\""));
  }
  nlohmann::json list = nlohmann::json::parse(found->second, nullptr, false);
  if (!list.is_array()) {
    return BadData(path,
                   absl::StrCat("metadata \"", name, "\" is not a JSON list"));
  }
  return list;
}

// One value a channel.
absl::StatusOr<std::vector<double>> ChannelValues(const SafetensorsFile& file,
                                                  const std::string& path,
                                                  const std::string& name) {
  DASM_ASSIGN_OR_RETURN(const nlohmann::json list,
                        MetadataList(file, path, name));
  std::vector<double> values;
  for (const nlohmann::json& item : list) {
    if (!item.is_number()) {
      return BadData(path, absl::StrCat("metadata \"", name,
                                        "\" holds something but numbers"));
    }
    values.push_back(item.get<double>());
  }
  return values;
}

struct StoredSplit {
  TensorView images;
  ImageShape shape;
  std::vector<int64_t> labels;
};

bool HasSplit(const SafetensorsFile& file, const std::string& name) {
  return file.tensors().contains(absl::StrCat(name, "_images"));
}

absl::StatusOr<Preprocessing> ReadPreprocessing(const SafetensorsFile& file,
                                                const std::string& path) {
  const auto found = file.metadata().find("preprocessing");
  if (found == file.metadata().end()) return Preprocessing::kNormalize;
  for (Preprocessing value : {Preprocessing::kNormalize, Preprocessing::kZca}) {
    if (nlohmann::json(value) == found->second) return value;
  }
  return BadData(path, absl::StrCat("unknown preprocessing \"", found->second,
                                    "\"; prepare the data set again"));
}

absl::StatusOr<StoredSplit> ReadSplit(const SafetensorsFile& file,
                                      const std::string& path,
                                      const std::string& name, DType pixels,
                                      int classes) {
  const auto get = [&](const std::string& tensor, DType dtype,
                       int dimensions) -> absl::StatusOr<TensorView> {
    auto view = file.Get(absl::StrCat(name, tensor), dtype, dimensions);
    if (!view.ok()) return BadData(path, view.status().message());
    return view;
  };
  DASM_ASSIGN_OR_RETURN(const TensorView images, get("_images", pixels, 4));
  DASM_ASSIGN_OR_RETURN(const TensorView labels,
                        get("_labels", DType::kI64, 1));
  if (images.shape[0] != labels.shape[0] || images.shape[0] == 0) {
    return BadData(path,
                   absl::StrCat(images.shape[0], " ", name, " images and ",
                                labels.shape[0], " labels"));
  }
  StoredSplit split;
  split.images = images;
  split.shape = {static_cast<int>(images.shape[1]),
                 static_cast<int>(images.shape[2]),
                 static_cast<int>(images.shape[3])};
  const int64_t* first = static_cast<const int64_t*>(labels.data);
  split.labels.assign(first, first + labels.shape[0]);
  for (size_t i = 0; i < split.labels.size(); ++i) {
    if (split.labels[i] < 0 || split.labels[i] >= classes) {
      return BadData(
          path, absl::StrCat(name, " image ", i, " has label ", split.labels[i],
                             " of ", classes, " classes"));
    }
  }
  return split;
}

}  // namespace

at::Tensor Normalization::Apply(const at::Tensor& pixels) const {
  const auto channels = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble)
        .to(pixels.options())
        .view({1, -1, 1, 1});
  };
  return (pixels - channels(mean)) / channels(std);
}

ByteImages::ByteImages(const uint8_t* bytes, ImageShape shape,
                       std::vector<int64_t> labels,
                       const Normalization& normalization)
    : bytes_(bytes), shape_(shape), labels_(std::move(labels)) {
  for (int c = 0; c < shape.channels; ++c) {
    const float mean = static_cast<float>(normalization.mean[c]);
    const float std = static_cast<float>(normalization.std[c]);
    std::vector<float>& pixels = pixels_.emplace_back(256);
    std::vector<float>& normalised = normalised_.emplace_back(256);
    for (int byte = 0; byte < 256; ++byte) {
      pixels[byte] = static_cast<float>(byte) / 255.0f;
      normalised[byte] = (pixels[byte] - mean) / std;
    }
  }
}

at::Tensor ByteImages::Gather(absl::Span<const int64_t> indices,
                              const Tables& tables) const {
  at::Tensor images = at::empty({static_cast<int64_t>(indices.size()),
                                 shape_.channels, shape_.height, shape_.width},
                                at::kFloat);
  float* to = images.mutable_data_ptr<float>();
  const int64_t plane = int64_t{shape_.height} * shape_.width;
  for (int64_t index : indices) {
    const uint8_t* from = bytes_ + index * shape_.elements();
    for (const std::vector<float>& table : tables) {
      for (int64_t i = 0; i < plane; ++i) *to++ = table[*from++];
    }
  }
  return images;
}

at::Tensor ByteImages::Normalised(absl::Span<const int64_t> indices) const {
  return Gather(indices, normalised_);
}

at::Tensor ByteImages::AllBytes() const {
  return at::from_blob(const_cast<uint8_t*>(bytes_),
                       {size(), shape_.channels, shape_.height, shape_.width},
                       at::kByte);
}

at::Tensor ByteImages::NormalisedTables() const {
  std::vector<at::Tensor> tables;
  for (const std::vector<float>& table : normalised_) {
    tables.push_back(at::tensor(table, at::kFloat));
  }
  return at::stack(tables);
}

at::Tensor ByteImages::Pixels(absl::Span<const int64_t> indices) const {
  return Gather(indices, pixels_);
}

absl::StatusOr<std::unique_ptr<ImageData>> ImageData::Open(
    const std::string& path) {
  std::unique_ptr<ImageData> data(new ImageData());
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) {
    return WithFailureClass(file.status(), FailureClass::kData);
  }
  data->file_ = *std::move(file);
  const auto name = data->file_->metadata().find("name");
  if (name != data->file_->metadata().end()) data->name_ = name->second;

  DASM_ASSIGN_OR_RETURN(const nlohmann::json classes,
                        MetadataList(*data->file_, path, "classes"));
  for (const nlohmann::json& label : classes) {
    data->class_names_.push_back(label.is_string() ? label.get<std::string>()
                                                   : label.dump());
  }
  DASM_ASSIGN_OR_RETURN(data->normalization_.mean,
                        ChannelValues(*data->file_, path, "mean"));
  DASM_ASSIGN_OR_RETURN(data->normalization_.std,
                        ChannelValues(*data->file_, path, "std"));
  DASM_ASSIGN_OR_RETURN(data->preprocessing_,
                        ReadPreprocessing(*data->file_, path));
  const bool whitened = data->preprocessing_ == Preprocessing::kZca;
  std::map<std::string, StoredSplit> splits;
  for (const char* split : {"train", "test", "validation"}) {
    if (split == absl::string_view("validation") &&
        !HasSplit(*data->file_, split))
      continue;
    DASM_ASSIGN_OR_RETURN(
        splits[split],
        ReadSplit(*data->file_, path, split,
                  whitened ? DType::kF32 : DType::kU8, data->classes()));
    if (splits[split].shape != splits["train"].shape) {
      return BadData(path, absl::StrCat("training and ", split,
                                        " images differ in shape"));
    }
  }
  const size_t channels = splits["train"].shape.channels;
  if (data->normalization_.mean.size() != channels ||
      data->normalization_.std.size() != channels) {
    return BadData(path, absl::StrCat("expected a mean and a std for each of ",
                                      channels, " channels"));
  }
  for (double std : data->normalization_.std) {
    if (!(std > 0)) return BadData(path, "a std is not positive");
  }
  if (whitened) {
    data->normalization_ = {std::vector<double>(channels, 0),
                            std::vector<double>(channels, 1)};
  }
  const std::vector<int64_t>& labels = splits["train"].labels;
  data->train_by_class_.resize(data->classes());
  for (size_t i = 0; i < labels.size(); ++i) {
    data->train_by_class_[labels[i]].push_back(i);
  }
  const auto source = [&](const char* name) -> std::unique_ptr<ImageSource> {
    const auto found = splits.find(name);
    if (found == splits.end()) return nullptr;
    StoredSplit& split = found->second;
    if (whitened) {
      return std::make_unique<TensorSource>(BorrowTensor(split.images),
                                            std::move(split.labels));
    }
    return std::make_unique<ByteImages>(
        static_cast<const uint8_t*>(split.images.data), split.shape,
        std::move(split.labels), data->normalization_);
  };
  data->train_ = source("train");
  data->test_ = source("test");
  data->validation_ = source("validation");
  return data;
}

const ByteImages* ImageData::train_bytes() const {
  return dynamic_cast<const ByteImages*>(train_.get());
}

}  // namespace dasm
