#include "common/dataset/reader.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/artifact/safetensors.h"
#include "common/base/file_system.h"
#include "common/base/random_stream.h"
#include "common/base/status_macros.h"
#include "common/dataset/cifar_binary.h"
#include "common/dataset/data_error.h"
#include "common/dataset/idx.h"
#include "common/dataset/image_folder.h"
#include "common/dataset/npy.h"
#include "common/dataset/public_dataset.h"
#include "common/dataset/svhn_mat.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

absl::StatusOr<const std::string*> PathOf(
    const std::vector<ResolvedFile>& files, const std::string& role) {
  for (const ResolvedFile& file : files) {
    if (file.role == role) return &file.path;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("no source file with role %s", role));
}

absl::StatusOr<ImageSet> ReadIdxHalf(const std::vector<ResolvedFile>& files,
                                     const std::string& half) {
  DASM_ASSIGN_OR_RETURN(const std::string* images_path,
                        PathOf(files, absl::StrCat(half, "_images")));
  DASM_ASSIGN_OR_RETURN(const std::string* labels_path,
                        PathOf(files, absl::StrCat(half, "_labels")));
  DASM_ASSIGN_OR_RETURN(IdxArray images, ReadIdx(*images_path, 3));
  DASM_ASSIGN_OR_RETURN(const IdxArray labels, ReadIdx(*labels_path, 1));
  if (images.shape[0] != labels.shape[0]) {
    return DataError(
        *labels_path,
        absl::StrFormat("%d labels for the %d images of %s; the two files do "
                        "not belong together",
                        labels.shape[0], images.shape[0], *images_path));
  }
  ImageSet set;
  set.count = images.shape[0];
  set.channels = 1;
  set.height = static_cast<int>(images.shape[1]);
  set.width = static_cast<int>(images.shape[2]);
  set.images = std::move(images.values);
  set.labels.assign(labels.values.begin(), labels.values.end());
  return set;
}

absl::StatusOr<ImageSet> ReadCifarHalf(const std::vector<ResolvedFile>& files,
                                       const std::string& half,
                                       int label_bytes) {
  DASM_RETURN_IF_ERROR(PathOf(files, absl::StrCat(half, ".0")).status());
  ImageSet set;
  for (int i = 0;; ++i) {
    const auto path = PathOf(files, absl::StrCat(half, ".", i));
    if (!path.ok()) return set;
    DASM_RETURN_IF_ERROR(AppendCifarBinary(**path, label_bytes, &set));
  }
}

absl::Status ReadHalves(const PrepareDatasetParameters& parameters,
                        const std::vector<ResolvedFile>& files,
                        Dataset* dataset) {
  if (parameters.format == "idx") {
    DASM_ASSIGN_OR_RETURN(dataset->train, ReadIdxHalf(files, "train"));
    DASM_ASSIGN_OR_RETURN(dataset->test, ReadIdxHalf(files, "test"));
    return absl::OkStatus();
  }
  if (parameters.format == "cifar_binary") {
    const int bytes = parameters.label_bytes;
    if (bytes != 1 && bytes != 2) {
      return absl::InvalidArgumentError("label_bytes must be 1 or 2");
    }
    DASM_ASSIGN_OR_RETURN(dataset->train, ReadCifarHalf(files, "train", bytes));
    DASM_ASSIGN_OR_RETURN(dataset->test, ReadCifarHalf(files, "test", bytes));
    return absl::OkStatus();
  }
  DASM_ASSIGN_OR_RETURN(const std::string* train, PathOf(files, "train"));
  DASM_ASSIGN_OR_RETURN(const std::string* test, PathOf(files, "test"));
  if (parameters.format == "svhn_mat") {
    DASM_ASSIGN_OR_RETURN(dataset->train, ReadSvhnMat(*train));
    DASM_ASSIGN_OR_RETURN(dataset->test, ReadSvhnMat(*test));
    return absl::OkStatus();
  }
  if (parameters.format == "image_folder") {
    const int side = parameters.image_size;
    const int channels = parameters.channels;
    if (side < 1 || side > 4096 || (channels != 1 && channels != 3)) {
      return absl::InvalidArgumentError(
          "an image folder needs image_size 1 .. 4096 and channels 1 or 3");
    }
    DASM_ASSIGN_OR_RETURN(const auto found, ListImageFolder(*train));
    for (const ImageClass& each : found) dataset->classes.push_back(each.name);
    DASM_ASSIGN_OR_RETURN(
        dataset->train,
        ReadImageFolder(*train, dataset->classes, side, channels));
    DASM_ASSIGN_OR_RETURN(
        dataset->test,
        ReadImageFolder(*test, dataset->classes, side, channels));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("unknown data set format %s", parameters.format));
}

// A file to name in an error about the content of a half.
std::string FileOf(const std::vector<ResolvedFile>& files,
                   const std::string& half) {
  for (const std::string& role :
       {absl::StrCat(half, "_labels"), absl::StrCat(half, ".0"), half}) {
    const auto path = PathOf(files, role);
    if (path.ok()) return **path;
  }
  return half;
}

absl::Status CheckLabels(const Dataset& dataset,
                         const std::vector<ResolvedFile>& files) {
  const int64_t classes = static_cast<int64_t>(dataset.classes.size());
  std::vector<int64_t> sizes(classes);
  for (const auto& [half, set] :
       {std::pair("train", &dataset.train), std::pair("test", &dataset.test)}) {
    for (int64_t i = 0; i < set->count; ++i) {
      const int64_t label = set->labels[i];
      if (label < 0 || label >= classes) {
        return DataError(FileOf(files, half),
                         absl::StrFormat("label %d of image %d, but there are "
                                         "%d classes (0 .. %d); fetch the file "
                                         "again or correct the number of "
                                         "classes",
                                         label, i, classes, classes - 1));
      }
      if (set == &dataset.train) ++sizes[label];
    }
  }
  const auto empty = std::find(sizes.begin(), sizes.end(), 0);
  if (empty != sizes.end()) {
    return DataError(FileOf(files, "train"),
                     absl::StrFormat("class %d of %d has no training image; "
                                     "correct the labels or the number of "
                                     "classes",
                                     empty - sizes.begin(), classes));
  }
  return absl::OkStatus();
}

// Population mean and deviation of each channel of pixels in [0, 1], from exact
// integer sums.
void Measure(const ImageSet& set, std::vector<double>* mean,
             std::vector<double>* std) {
  const int64_t plane = int64_t{set.height} * set.width;
  mean->clear();
  std->clear();
  for (int c = 0; c < set.channels; ++c) {
    int64_t sum = 0;
    int64_t squares = 0;
    for (int64_t n = 0; n < set.count; ++n) {
      const uint8_t* pixels =
          set.images.data() + (n * set.channels + c) * plane;
      for (int64_t i = 0; i < plane; ++i) {
        sum += pixels[i];
        squares += int64_t{pixels[i]} * pixels[i];
      }
    }
    const double count = static_cast<double>(set.count * plane);
    const double average = static_cast<double>(sum) / count;
    // sum over (x - average)^2, without cancellation: numerator as an integer.
    const auto numerator = static_cast<__int128>(set.count * plane) * squares -
                           static_cast<__int128>(sum) * sum;
    mean->push_back(average / 255);
    std->push_back(std::sqrt(static_cast<double>(numerator)) / count / 255);
  }
}

// Moves a share of each class from the training images to the validation
// images. Which ones follows from the labels alone.
void HoldOut(double share, Dataset* dataset) {
  ImageSet& train = dataset->train;
  std::vector<std::vector<int64_t>> by_class(dataset->classes.size());
  for (int64_t i = 0; i < train.count; ++i) {
    by_class[train.labels[i]].push_back(i);
  }
  std::vector<bool> held_out(train.count);
  const RandomStream stream(/*seed=*/0, "dataset.validation");
  for (size_t c = 0; c < by_class.size(); ++c) {
    const auto count = static_cast<int64_t>(by_class[c].size());
    const std::vector<int64_t> order =
        stream.At(static_cast<uint32_t>(c)).Permutation(count);
    const auto held = static_cast<int64_t>(share * static_cast<double>(count));
    for (int64_t k = 0; k < held; ++k) held_out[by_class[c][order[k]]] = true;
  }
  const int64_t bytes = int64_t{train.channels} * train.height * train.width;
  ImageSet kept = {0, train.channels, train.height, train.width, {}, {}};
  dataset->validation = kept;
  kept.images.reserve(train.images.size());
  for (int64_t i = 0; i < train.count; ++i) {
    ImageSet& to = held_out[i] ? dataset->validation : kept;
    const auto begin = train.images.begin() + i * bytes;
    to.images.insert(to.images.end(), begin, begin + bytes);
    to.labels.push_back(train.labels[i]);
    ++to.count;
  }
  train = std::move(kept);
}

absl::Status SetNormalisation(const PrepareDatasetParameters& parameters,
                              const std::vector<ResolvedFile>& files,
                              Dataset* dataset) {
  const size_t channels = dataset->train.channels;
  if (!parameters.mean.empty() || !parameters.std.empty()) {
    dataset->mean = parameters.mean;
    dataset->std = parameters.std;
  } else {
    Measure(dataset->train, &dataset->mean, &dataset->std);
    for (size_t c = 0; c < channels; ++c) {
      if (dataset->std[c] > 0) continue;
      return DataError(FileOf(files, "train"),
                       absl::StrFormat("channel %d is the same everywhere; "
                                       "the pictures are not what they should "
                                       "be",
                                       c));
    }
  }
  if (dataset->mean.size() != channels || dataset->std.size() != channels) {
    return DataError(
        FileOf(files, "train"),
        absl::StrFormat("%d channels, but mean has %d values and "
                        "std %d",
                        channels, dataset->mean.size(), dataset->std.size()));
  }
  return absl::OkStatus();
}

std::string JsonText(const nlohmann::json& json) {
  // A folder name need not be UTF-8.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<Dataset> ReadDataset(const PrepareDatasetParameters& parameters,
                                    const std::vector<ResolvedFile>& files) {
  Dataset dataset;
  DASM_RETURN_IF_ERROR(ReadHalves(parameters, files, &dataset));
  const ImageSet& train = dataset.train;
  const ImageSet& test = dataset.test;
  if (train.channels != test.channels || train.height != test.height ||
      train.width != test.width) {
    return DataError(
        FileOf(files, "test"),
        absl::StrFormat("test images of %d x %d x %d, training images of %d x "
                        "%d x %d; both must be alike",
                        test.channels, test.height, test.width, train.channels,
                        train.height, train.width));
  }
  if (parameters.channels != 0 && parameters.channels != train.channels) {
    return DataError(FileOf(files, "train"),
                     absl::StrFormat("images of %d channels where %d are asked "
                                     "for",
                                     train.channels, parameters.channels));
  }
  if (dataset.classes.empty()) {
    const PublicDataset* known = FindPublicDataset(parameters.name);
    int64_t classes = parameters.classes;
    if (classes == 0 && known != nullptr) classes = known->classes.size();
    if (classes == 0) {
      classes = 1 + *std::max_element(train.labels.begin(), train.labels.end());
    }
    for (int64_t c = 0; c < classes; ++c) {
      dataset.classes.push_back(known != nullptr &&
                                        known->classes.size() == size_t(classes)
                                    ? known->classes[c]
                                    : absl::StrCat(c));
    }
  } else if (parameters.classes != 0 &&
             size_t(parameters.classes) != dataset.classes.size()) {
    return DataError(
        FileOf(files, "train"),
        absl::StrFormat("%d class folders where %d classes are "
                        "asked for",
                        dataset.classes.size(), parameters.classes));
  }
  DASM_RETURN_IF_ERROR(CheckLabels(dataset, files));
  if (parameters.validation > 0) {
    HoldOut(parameters.validation, &dataset);
    if (dataset.validation.count == 0) {
      return DataError(
          FileOf(files, "train"),
          absl::StrFormat("no class is large enough to hold out %g of it; "
                          "raise or remove dataset.validation",
                          parameters.validation));
    }
  }
  DASM_RETURN_IF_ERROR(SetNormalisation(parameters, files, &dataset));
  return dataset;
}

absl::Status WriteDataset(const Dataset& dataset, const std::string& name,
                          const std::string& path) {
  std::map<std::string, TensorView> tensors;
  for (const auto& [half, set] :
       {std::pair("train_", &dataset.train), std::pair("test_", &dataset.test),
        std::pair("validation_", &dataset.validation)}) {
    if (set->count == 0) continue;
    tensors[absl::StrCat(half, "images")] = {
        DType::kU8,
        {set->count, set->channels, set->height, set->width},
        set->images.data()};
    tensors[absl::StrCat(half, "labels")] = {
        DType::kI64, {set->count}, set->labels.data()};
  }
  return WriteSafetensors(path, tensors,
                          {{"classes", JsonText(dataset.classes)},
                           {"mean", JsonText(dataset.mean)},
                           {"std", JsonText(dataset.std)},
                           {"name", name}});
}

absl::StatusOr<ArraySet> ReadArraySet(const std::vector<ResolvedFile>& files) {
  struct Array {
    std::string name;  // for errors
    std::string bytes;
  };
  const auto read = [](const std::string& path) -> absl::StatusOr<std::string> {
    auto size = LocalFileSystem()->Size(path);
    if (!size.ok()) return DataError(path, size.status().message());
    if (*size > kMaxSetBytes) return DataError(path, "larger than 1 GiB");
    auto bytes = LocalFileSystem()->Read(path);
    if (!bytes.ok()) return DataError(path, bytes.status().message());
    return bytes;
  };
  std::map<std::string, Array> arrays;
  if (const auto npz = PathOf(files, "npz"); npz.ok()) {
    DASM_ASSIGN_OR_RETURN(const std::string zip, read(**npz));
    DASM_ASSIGN_OR_RETURN(auto members,
                          ReadNpz(zip, **npz, /*only_heads=*/false));
    for (const char* name : {"images", "labels"}) {
      const auto at = members.find(name);
      if (at == members.end()) {
        return DataError(**npz,
                         absl::StrFormat("no array %s; save images and labels "
                                         "with numpy.savez",
                                         name));
      }
      arrays[name] = {absl::StrCat(**npz, ": ", name),
                      std::move(at->second.bytes)};
    }
  } else {
    for (const char* name : {"images", "labels"}) {
      DASM_ASSIGN_OR_RETURN(const std::string* path, PathOf(files, name));
      DASM_ASSIGN_OR_RETURN(std::string bytes, read(*path));
      arrays[name] = {*path, std::move(bytes)};
    }
  }
  const Array& images = arrays["images"];
  const Array& labels = arrays["labels"];
  DASM_ASSIGN_OR_RETURN(
      const NpyHeader images_header,
      ParseNpyHeader(images.bytes, images.bytes.size(), images.name));
  DASM_ASSIGN_OR_RETURN(
      const NpyHeader labels_header,
      ParseNpyHeader(labels.bytes, labels.bytes.size(), labels.name));
  const std::vector<int64_t>& shape = images_header.shape;
  if (shape.size() != 4) {
    return DataError(images.name,
                     absl::StrFormat("%d dimensions; images are [N, C, H, W]",
                                     shape.size()));
  }
  if (labels_header.shape != std::vector<int64_t>{shape[0]}) {
    return DataError(
        labels.name,
        absl::StrFormat("not one label for each of the %d images", shape[0]));
  }
  if (shape[1] > 3 || shape[2] > 4096 || shape[3] > 4096) {
    return DataError(images.name,
                     absl::StrFormat("images of %d x %d x %d; at most 3 x 4096 "
                                     "x 4096, channels first",
                                     shape[1], shape[2], shape[3]));
  }
  ArraySet set;
  set.count = shape[0];
  set.channels = static_cast<int>(shape[1]);
  set.height = static_cast<int>(shape[2]);
  set.width = static_cast<int>(shape[3]);
  DASM_ASSIGN_OR_RETURN(set.images,
                        NpyFloats(images_header, images.bytes, images.name));
  DASM_ASSIGN_OR_RETURN(set.labels,
                        NpyIntegers(labels_header, labels.bytes, labels.name));
  for (int64_t i = 0; i < set.count; ++i) {
    if (set.labels[i] < 0) {
      return DataError(labels.name, absl::StrFormat("label %d at index [%d]",
                                                    set.labels[i], i));
    }
  }
  return set;
}

}  // namespace dasm
