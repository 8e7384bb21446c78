// Decodes a data set whole into bytes: idx (also gzipped), CIFAR binary, SVHN
// .mat, class folders of PNG and JPEG.
#ifndef DASM_COMMON_DATASET_READER_H_
#define DASM_COMMON_DATASET_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/source.h"
#include "common/spec/task_parameters.h"

namespace dasm {

struct ImageSet {
  int64_t count = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<uint8_t> images;  // [N, C, H, W]
  std::vector<int64_t> labels;  // [N]
};

struct Dataset {
  ImageSet train;
  ImageSet test;
  ImageSet validation;  // maybe none
  std::vector<std::string> classes;
  // Per channel of the training images in [0, 1] (population), or as given.
  std::vector<double> mean;
  std::vector<double> std;
};

// Absolute paths by role.
struct ResolvedFile {
  std::string role;
  std::string path;
  std::string digest;  // what it must have (SourceDigest); empty: not checked
};

// FAILED_PRECONDITION with failure class DATA naming the file: truncated, a
// label out of range, label and image counts that differ, a picture that does
// not decode, a channel count other than asked for, a class without training
// images, a channel that is constant. INVALID_ARGUMENT for an unknown format.
// Digests are the caller's to check. With parameters.validation that share of
// each class's training images (rounded down; drawn by a key that no job has a
// part in) is held out, in the order of the files. `mean` and `std` are those
// of `parameters`, else measured on what remains.
absl::StatusOr<Dataset> ReadDataset(const PrepareDatasetParameters& parameters,
                                    const std::vector<ResolvedFile>& files);

// Writes `dataset` as the blob of task_parameters.h. Byte-stable.
absl::Status WriteDataset(const Dataset& dataset, const std::string& name,
                          const std::string& path);

struct ArraySet {
  int64_t count = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<float> images;
  std::vector<int64_t> labels;
};
// Roles "npz", or "images" and "labels" (.npy). Stored or deflated; f4/f8
// images [N,C,H,W], i4/i8 labels [N]; no pickles. NaN and infinity are refused
// (DATA, naming array and index), and so are negative labels and counts that
// differ.
absl::StatusOr<ArraySet> ReadArraySet(const std::vector<ResolvedFile>& files);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_READER_H_
