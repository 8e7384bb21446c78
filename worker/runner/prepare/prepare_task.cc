#include "worker/runner/prepare/prepare_task.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/file_memo.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

absl::Status CheckDigests(const std::vector<ResolvedFile>& files) {
  for (const ResolvedFile& file : files) {
    if (file.digest.empty()) continue;
    DASM_ASSIGN_OR_RETURN(const std::string digest, SourceDigest(file.path));
    if (digest == file.digest) continue;
    return DataError(
        file.path,
        absl::StrFormat("changed since the job was submitted (%s then, %s "
                        "now); put the file back or submit the job again",
                        file.digest, digest));
  }
  return absl::OkStatus();
}

absl::Status StorageError(absl::Status status) {
  return status.ok()
             ? status
             : WithFailureClass(std::move(status), FailureClass::kStorage);
}

// What an import needs to know of the data set.
struct DatasetShape {
  std::vector<int64_t> image;  // [C, H, W]
  int64_t classes = 0;
  std::vector<double> mean;
  std::vector<double> std;
};

absl::StatusOr<DatasetShape> ReadDatasetShape(const std::string& path) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return DataError(path, file.status().message());
  const auto images = (*file)->Get("train_images", DType::kU8, 4);
  if (!images.ok()) return DataError(path, images.status().message());
  DatasetShape shape;
  shape.image.assign(images->shape.begin() + 1, images->shape.end());
  std::map<std::string, nlohmann::json> lists;
  for (const char* name : {"classes", "mean", "std"}) {
    const auto at = (*file)->metadata().find(name);
    nlohmann::json& list = lists[name];
    if (at != (*file)->metadata().end()) {
      list = nlohmann::json::parse(at->second, nullptr, false);
    }
    const bool numbers =
        name[0] == 'c' ||
        std::all_of(list.begin(), list.end(),
                    [](const nlohmann::json& x) { return x.is_number(); });
    if (!list.is_array() || !numbers) {
      return DataError(path, absl::StrFormat("no metadata %s", name));
    }
  }
  shape.classes = static_cast<int64_t>(lists["classes"].size());
  shape.mean = lists["mean"].get<std::vector<double>>();
  shape.std = lists["std"].get<std::vector<double>>();
  const size_t channels = shape.image[0];
  if (shape.mean.size() != channels || shape.std.size() != channels) {
    return DataError(path, "mean and std do not fit the channels");
  }
  return shape;
}

struct ImportedSet {
  std::vector<int64_t> shape;  // [M, C, H, W]
  std::vector<float> images;
  std::vector<int64_t> labels;
  std::vector<int32_t> segment;
};

std::string ShapeText(const std::vector<int64_t>& image) {
  return absl::StrFormat("%d x %d x %d", image[0], image[1], image[2]);
}

absl::Status CheckAgainst(const DatasetShape& dataset, const ImportedSet& set,
                          const std::string& name) {
  const std::vector<int64_t> image(set.shape.begin() + 1, set.shape.end());
  if (image != dataset.image) {
    return DataError(
        name, absl::StrFormat("images of %s; the data set's are %s: evaluate "
                              "the set with the data set it was made from",
                              ShapeText(image), ShapeText(dataset.image)));
  }
  for (size_t i = 0; i < set.labels.size(); ++i) {
    if (set.labels[i] >= 0 && set.labels[i] < dataset.classes) continue;
    return DataError(
        name, absl::StrFormat("label %d of image %d; the data set has classes "
                              "0 .. %d",
                              set.labels[i], i, dataset.classes - 1));
  }
  return absl::OkStatus();
}

// To pixels in the data set's range, in place.
absl::Status ToPixels(const ImportSetParameters& parameters,
                      const DatasetShape& dataset, const std::string& name,
                      ArraySet* arrays) {
  const int64_t plane = int64_t{arrays->height} * arrays->width;
  for (size_t i = 0; i < arrays->images.size(); ++i) {
    float& x = arrays->images[i];
    if (parameters.space == PixelSpace::kNormalized) {
      const int64_t c = static_cast<int64_t>(i) / plane % arrays->channels;
      x = static_cast<float>(double{x} * dataset.std[c] + dataset.mean[c]);
    } else if (!(x >= 0 && x <= 1)) {
      return DataError(
          name, absl::StrFormat(
                    "%g in image %d is outside [0, 1]; set "
                    "synthetic_set.space: normalized if pixels are "
                    "(pixel - mean) / std, else divide or clamp",
                    x, static_cast<int64_t>(i) / (plane * arrays->channels)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ImportedSet> ImportArrays(const ImportSetParameters& parameters,
                                         const std::vector<ResolvedFile>& files,
                                         const DatasetShape& dataset) {
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  DASM_ASSIGN_OR_RETURN(ArraySet arrays, ReadArraySet(files));
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  const std::string& name = files[0].path;
  ImportedSet set;
  set.shape = {arrays.count, arrays.channels, arrays.height, arrays.width};
  set.labels = arrays.labels;
  DASM_RETURN_IF_ERROR(CheckAgainst(dataset, set, name));
  DASM_RETURN_IF_ERROR(ToPixels(parameters, dataset, name, &arrays));

  std::vector<int64_t> order(arrays.count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return arrays.labels[a] < arrays.labels[b];
  });
  const int64_t pixels =
      int64_t{arrays.channels} * arrays.height * arrays.width;
  set.images.reserve(arrays.images.size());
  for (int64_t i = 0; i < arrays.count; ++i) {
    const auto begin = arrays.images.begin() + order[i] * pixels;
    set.images.insert(set.images.end(), begin, begin + pixels);
    set.labels[i] = arrays.labels[order[i]];
  }
  set.segment.assign(arrays.count, 0);
  return set;
}

absl::StatusOr<ImportedSet> ImportSource(const ImportSetParameters& parameters,
                                         const std::string& path,
                                         const DatasetShape& dataset) {
  if (parameters.space != PixelSpace::kPixel) {
    return InvalidField("synthetic_set.space",
                        "a stored set is always in pixels; set it to pixel");
  }
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return DataError(path, file.status().message());
  const auto images = (*file)->Get("images", DType::kF32, 4);
  if (!images.ok()) return DataError(path, images.status().message());
  const auto labels = (*file)->Get("labels", DType::kI64, 1);
  if (!labels.ok()) return DataError(path, labels.status().message());
  const auto segment = (*file)->Get("segment", DType::kI32, 1);
  if (!segment.ok()) return DataError(path, segment.status().message());
  if (images->shape[0] == 0) return DataError(path, "an empty set");
  if (labels->shape[0] != images->shape[0] ||
      segment->shape[0] != images->shape[0]) {
    return DataError(path, "images, labels and segment differ in length");
  }
  const auto factor = (*file)->metadata().find("factor");
  if (factor != (*file)->metadata().end() &&
      factor->second != absl::StrCat(parameters.factor)) {
    return DataError(path, absl::StrFormat("was made with factor %s; set "
                                           "synthesis.factor: %s",
                                           factor->second, factor->second));
  }
  ImportedSet set;
  set.shape = images->shape;
  const auto* pixels = static_cast<const float*>(images->data);
  set.images.assign(pixels, pixels + images->elements());
  const auto* label = static_cast<const int64_t*>(labels->data);
  set.labels.assign(label, label + labels->elements());
  const auto* number = static_cast<const int32_t*>(segment->data);
  set.segment.assign(number, number + segment->elements());
  DASM_RETURN_IF_ERROR(CheckAgainst(dataset, set, path));
  for (size_t i = 0; i < set.images.size(); ++i) {
    if (set.images[i] - set.images[i] == 0) continue;
    return DataError(path,
                     absl::StrFormat("images: not finite at element %d", i));
  }
  return set;
}

}  // namespace

absl::StatusOr<std::string> RunPrepareDataset(
    const PrepareDatasetParameters& parameters,
    const std::vector<ResolvedFile>& files, const std::string& output) {
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  DASM_ASSIGN_OR_RETURN(const Dataset dataset, ReadDataset(parameters, files));
  // What was read is what was checked.
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  DASM_RETURN_IF_ERROR(
      StorageError(WriteDataset(dataset, parameters.name, output)));
  std::vector<int64_t> sizes(dataset.classes.size());
  for (int64_t label : dataset.train.labels) ++sizes[label];
  const nlohmann::json summary = {{"train", dataset.train.count},
                                  {"test", dataset.test.count},
                                  {"classes", dataset.classes.size()},
                                  {"channels", dataset.train.channels},
                                  {"height", dataset.train.height},
                                  {"width", dataset.train.width},
                                  {"class_sizes", sizes}};
  return summary.dump();
}

absl::StatusOr<std::string> RunImportSet(const ImportSetParameters& parameters,
                                         const std::vector<ResolvedFile>& files,
                                         const std::string& source,
                                         const std::string& dataset,
                                         const std::string& output) {
  if (files.empty() == source.empty()) {
    return absl::InvalidArgumentError(
        "import_set needs either source files or a stored set");
  }
  DASM_ASSIGN_OR_RETURN(const DatasetShape shape, ReadDatasetShape(dataset));
  DASM_ASSIGN_OR_RETURN(const ImportedSet set,
                        source.empty()
                            ? ImportArrays(parameters, files, shape)
                            : ImportSource(parameters, source, shape));
  const int64_t count = set.shape[0];
  DASM_RETURN_IF_ERROR(StorageError(WriteSafetensors(
      output,
      {{"images", {DType::kF32, set.shape, set.images.data()}},
       {"labels", {DType::kI64, {count}, set.labels.data()}},
       {"segment", {DType::kI32, {count}, set.segment.data()}}},
      {{"factor", absl::StrCat(parameters.factor)}})));
  std::vector<int64_t> sizes(shape.classes);
  for (int64_t label : set.labels) ++sizes[label];
  const nlohmann::json summary = {
      {"images", count},
      {"images_per_class", *std::max_element(sizes.begin(), sizes.end())},
      {"stored_bytes", set.images.size() * sizeof(float)}};
  return summary.dump();
}

}  // namespace dasm
