// The numbers of a reference computation, and how far ours are from them.
#ifndef DASM_TESTS_GOLDEN_GOLDEN_FILE_H_
#define DASM_TESTS_GOLDEN_GOLDEN_FILE_H_

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <utility>

#include "common/artifact/safetensors.h"
#include "gtest/gtest.h"

namespace dasm {

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) {
    auto opened = SafetensorsFile::Open(path);
    EXPECT_TRUE(opened.ok()) << opened.status();
    file_ = *std::move(opened);
  }

  // A copy, f64, i64 or u8 as it was written.
  at::Tensor Get(const std::string& name) const {
    const auto found = file_->tensors().find(name);
    EXPECT_NE(found, file_->tensors().end()) << name;
    const TensorView& view = found->second;
    at::ScalarType type = at::kDouble;
    if (view.dtype == DType::kI64) type = at::kLong;
    if (view.dtype == DType::kU8) type = at::kByte;
    return at::from_blob(const_cast<void*>(view.data), view.shape, type)
        .clone();
  }

 private:
  std::unique_ptr<SafetensorsFile> file_;
};

// Largest difference, relative to the largest expected value.
inline double Error(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  return ((actual - expected).abs().max() / expected.abs().max())
      .item<double>();
}

}  // namespace dasm

#endif  // DASM_TESTS_GOLDEN_GOLDEN_FILE_H_
