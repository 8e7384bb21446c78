#include "worker/runner/prepare/prepare_task.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/file_memo.h"
#include "common/dataset/npy.h"
#include "common/dataset/ranking.h"
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
  bool whitened = false;
};

bool IsWhitened(const SafetensorsFile& dataset) {
  const auto found = dataset.metadata().find("preprocessing");
  return found != dataset.metadata().end() &&
         found->second == nlohmann::json(Preprocessing::kZca);
}

absl::StatusOr<DatasetShape> ReadDatasetShape(const std::string& path) {
  auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return DataError(path, file.status().message());
  DatasetShape shape;
  shape.whitened = IsWhitened(**file);
  const auto images = (*file)->Get(
      "train_images", shape.whitened ? DType::kF32 : DType::kU8, 4);
  if (!images.ok()) return DataError(path, images.status().message());
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
  bool preprocessed = false;
  std::string whitening;            // its name, or none
  std::vector<float> label_logits;  // [M, classes], or none
  std::vector<float> step_size;     // or none
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
    if (parameters.space == PixelSpace::kNormalized && dataset.whitened) {
      continue;
    }
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
  set.preprocessed =
      dataset.whitened && parameters.space == PixelSpace::kNormalized;
  return set;
}

// Empty where the file has none.
absl::StatusOr<std::vector<float>> OptionalFloats(
    const SafetensorsFile& file, const std::string& path,
    const std::string& name, const std::vector<int64_t>& shape) {
  std::vector<float> values;
  if (!file.tensors().contains(name)) return values;
  const auto view = file.Get(name, DType::kF32, static_cast<int>(shape.size()));
  if (!view.ok()) return DataError(path, view.status().message());
  if (view->shape != shape) {
    return DataError(path,
                     absl::StrFormat("%s is [%s] where [%s] is needed", name,
                                     absl::StrJoin(view->shape, ", "),
                                     absl::StrJoin(shape, ", ")));
  }
  const auto* data = static_cast<const float*>(view->data);
  values.assign(data, data + view->elements());
  return values;
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
  const auto space = (*file)->metadata().find("space");
  set.preprocessed =
      space != (*file)->metadata().end() && space->second == "preprocessed";
  const auto whitening = (*file)->metadata().find("whitening");
  if (whitening != (*file)->metadata().end()) set.whitening = whitening->second;
  DASM_ASSIGN_OR_RETURN(set.label_logits,
                        OptionalFloats(**file, path, "label_logits",
                                       {images->shape[0], dataset.classes}));
  const int64_t segments = static_cast<int64_t>(
      absl::flat_hash_set<int32_t>(set.segment.begin(), set.segment.end())
          .size());
  DASM_ASSIGN_OR_RETURN(set.step_size,
                        OptionalFloats(**file, path, "step_size", {segments}));
  for (const auto& [tensor, values] :
       {std::pair("images", &set.images),
        std::pair("label_logits", &set.label_logits),
        std::pair("step_size", &set.step_size)}) {
    for (size_t i = 0; i < values->size(); ++i) {
      if (std::isfinite((*values)[i])) continue;
      return DataError(
          path, absl::StrFormat("%s: not finite at element %d", tensor, i));
    }
  }
  return set;
}

// Places of an order in each class, easy to hard, as scores.
std::vector<float> PlacesOf(const std::vector<int64_t>& order,
                            const std::vector<int64_t>& labels) {
  std::vector<float> scores(order.size());
  for (size_t i = 0, place = 0; i < order.size(); ++i) {
    place = i > 0 && labels[order[i]] == labels[order[i - 1]] ? place + 1 : 0;
    scores[order[i]] = static_cast<float>(place);
  }
  return scores;
}

struct Ranking {
  std::vector<float> scores;
  std::vector<int64_t> order;
};

absl::StatusOr<Ranking> RankingOf(const NpyHeader& header,
                                  const std::string& bytes,
                                  const std::string& name,
                                  const std::vector<int64_t>& labels,
                                  int64_t classes) {
  const auto count = static_cast<int64_t>(labels.size());
  const bool numbers = header.type == NpyHeader::Type::kI4 ||
                       header.type == NpyHeader::Type::kI8;
  const std::vector<int64_t> expected =
      numbers ? std::vector<int64_t>{classes, count / classes}
              : std::vector<int64_t>{count};
  if (header.shape != expected || (numbers && count % classes != 0)) {
    return DataError(
        name,
        absl::StrFormat(
            "%s [%s]; the data set's %d training images (without its "
            "validation split) of %d classes need floats [%d], higher is "
            "harder%s",
            numbers ? "integers" : "floats", absl::StrJoin(header.shape, ", "),
            count, classes, count,
            count % classes == 0
                ? absl::StrFormat(", or integers [%d, %d], image numbers from "
                                  "easy to hard",
                                  classes, count / classes)
                : ""));
  }
  Ranking ranking;
  if (!numbers) {
    DASM_ASSIGN_OR_RETURN(ranking.scores, NpyFloats(header, bytes, name));
    ranking.order = RankByScore(ranking.scores, labels);
    return ranking;
  }
  DASM_ASSIGN_OR_RETURN(ranking.order, NpyIntegers(header, bytes, name));
  std::vector<bool> seen(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t image = ranking.order[i];
    const int64_t row = i / expected[1];
    if (image >= 0 && image < count && labels[image] == row && !seen[image]) {
      seen[image] = true;
      continue;
    }
    return DataError(
        name, absl::StrFormat("row %d holds %d, which is %s; row c must hold "
                              "each image number of class c once",
                              row, image,
                              image < 0 || image >= count ? "no training image"
                              : seen[image]               ? "there twice"
                                            : "an image of another class"));
  }
  ranking.scores = PlacesOf(ranking.order, labels);
  return ranking;
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
  nlohmann::json summary = {{"train", dataset.train.count},
                            {"test", dataset.test.count},
                            {"classes", dataset.classes.size()},
                            {"channels", dataset.train.channels},
                            {"height", dataset.train.height},
                            {"width", dataset.train.width},
                            {"class_sizes", sizes}};
  if (parameters.validation > 0) {
    summary["validation"] = dataset.validation.count;
  }
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
  std::map<std::string, TensorView> tensors = {
      {"images", {DType::kF32, set.shape, set.images.data()}},
      {"labels", {DType::kI64, {count}, set.labels.data()}},
      {"segment", {DType::kI32, {count}, set.segment.data()}}};
  if (!set.label_logits.empty()) {
    tensors["label_logits"] = {
        DType::kF32, {count, shape.classes}, set.label_logits.data()};
  }
  if (!set.step_size.empty()) {
    tensors["step_size"] = {DType::kF32,
                            {static_cast<int64_t>(set.step_size.size())},
                            set.step_size.data()};
  }
  std::map<std::string, std::string> metadata = {
      {"factor", absl::StrCat(parameters.factor)}};
  if (set.preprocessed) metadata["space"] = "preprocessed";
  if (!set.whitening.empty()) metadata["whitening"] = set.whitening;
  DASM_RETURN_IF_ERROR(
      StorageError(WriteSafetensors(output, tensors, metadata)));
  std::vector<int64_t> sizes(shape.classes);
  for (int64_t label : set.labels) ++sizes[label];
  const nlohmann::json summary = {
      {"images", count},
      {"images_per_class", *std::max_element(sizes.begin(), sizes.end())},
      {"stored_bytes", set.images.size() * sizeof(float)}};
  return summary.dump();
}

absl::StatusOr<std::string> RunImportScores(
    const ImportScoresParameters& parameters,
    const std::vector<ResolvedFile>& files, const std::string& dataset,
    const std::string& output) {
  if (files.size() != 1 || files[0].role != "scores") {
    return absl::InvalidArgumentError(
        "import_scores needs one file of role \"scores\"");
  }
  auto file = SafetensorsFile::Open(dataset);
  if (!file.ok()) return DataError(dataset, file.status().message());
  const auto view = (*file)->Get("train_labels", DType::kI64, 1);
  const auto names = (*file)->metadata().find("classes");
  if (!view.ok() || names == (*file)->metadata().end()) {
    return DataError(dataset, "not a prepared data set");
  }
  const auto* first = static_cast<const int64_t*>(view->data);
  const std::vector<int64_t> labels(first, first + view->elements());
  const auto classes = static_cast<int64_t>(
      nlohmann::json::parse(names->second, nullptr, false).size());
  if (classes == 0 || labels.empty()) return DataError(dataset, "no images");

  const std::string& name = files[0].path;
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  const auto bytes = LocalFileSystem()->Read(name);
  if (!bytes.ok()) return DataError(name, bytes.status().message());
  DASM_RETURN_IF_ERROR(CheckDigests(files));
  DASM_ASSIGN_OR_RETURN(const NpyHeader header,
                        ParseNpyHeader(*bytes, bytes->size(), name));
  DASM_ASSIGN_OR_RETURN(const Ranking ranking,
                        RankingOf(header, *bytes, name, labels, classes));
  DASM_RETURN_IF_ERROR(StorageError(
      WriteRanking(output, ranking.scores, ranking.order, parameters.rule)));
  return nlohmann::json{{"images", labels.size()}, {"rule", parameters.rule}}
      .dump();
}

}  // namespace dasm
