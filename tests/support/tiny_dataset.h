// A small learnable data set in idx files, made anew for each test: each class
// is a smooth pattern of its own, an image is its pattern plus noise.
#ifndef DASM_TESTS_SUPPORT_TINY_DATASET_H_
#define DASM_TESTS_SUPPORT_TINY_DATASET_H_

#include <string>

namespace dasm::testing_support {

struct TinyDataset {
  int classes = 3;
  int side = 16;
  int train_per_class = 80;
  int test_per_class = 20;
};

// Writes train-images, train-labels, test-images and test-labels into `folder`.
void WriteTinyDataset(const TinyDataset& options, const std::string& folder);

// A DASM job over it (images_per_class 2 = 1 + 1, width 8): a second or two of
// work, with a checkpoint every 0.2 s. Further lines may be appended with
// --set.
std::string TinyJob();

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_TINY_DATASET_H_
