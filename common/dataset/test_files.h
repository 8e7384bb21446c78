// Small data sets and arrays on disk, for tests: whole, or damaged by the test.
#ifndef DASM_COMMON_DATASET_TEST_FILES_H_
#define DASM_COMMON_DATASET_TEST_FILES_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace dasm {

// A folder of this test alone, removed with the object.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string At(std::string_view name) const;
  // Makes the folders in between; returns the absolute path.
  std::string Write(std::string_view name, std::string_view bytes) const;

 private:
  std::string path_;
};

std::string Gzip(std::string_view bytes);

// An idx file of unsigned bytes.
std::string Idx(const std::vector<int>& shape, std::string_view values);
// idx images whose pixels vary, and labels 0 .. classes-1 in turn.
std::string IdxImages(int count, int side);
std::string IdxLabels(int count, int classes);
// The four files of `count` training and `count` / 2 test images below `folder`
// of `root`, gzipped or not.
void WriteIdxDataset(const TestFolder& root, std::string_view folder, int count,
                     int side, int classes, bool gzip);

// CIFAR records with labels 0 .. classes-1 in turn; with two label bytes the
// first is 99.
std::string CifarRecords(int count, int classes, int label_bytes);

// X uint8 [32, 32, 3, N] and y [N, 1], zlib-compressed as the official files.
// The pixel of image n, channel c, row y, column x is (n + 7c + 3y + 5x) % 256.
void WriteSvhnMat(const std::string& path, const std::vector<double>& labels);

// `order`: "False" or "True".
std::string Npy(std::string_view descr, const std::vector<int64_t>& shape,
                std::string_view data, std::string_view order = "False");
std::string NpyF4(const std::vector<int64_t>& shape,
                  const std::vector<float>& values);
std::string NpyI8(const std::vector<int64_t>& values);
// A zip archive of the members "<name>.npy".
std::string Npz(const std::map<std::string, std::string>& members,
                bool deflate);

// `bytes` with a few random bytes changed, cut or doubled: seeded.
std::string Mutated(std::string_view bytes, uint64_t seed);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_TEST_FILES_H_
