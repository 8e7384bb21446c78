// A prepared data set: the `dataset` blob of common/spec/task_parameters.h,
// memory-mapped. Pixels stay in the file, as bytes that become fp32 in a batch
// or as whitened fp32, so memory is that of the file.
#ifndef DASM_WORKER_ENGINE_DATASET_IMAGE_DATA_H_
#define DASM_WORKER_ENGINE_DATASET_IMAGE_DATA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_source.h"

namespace dasm {

// Per channel, of pixels in [0, 1].
struct Normalization {
  std::vector<double> mean;
  std::vector<double> std;
  // (pixels - mean) / std of [N, C, H, W]; differentiable.
  at::Tensor Apply(const at::Tensor& pixels) const;
};

// One split of bytes. Borrows the mapped file of its ImageData.
class ByteImages final : public ImageSource {
 public:
  ByteImages(const uint8_t* bytes, ImageShape shape,
             std::vector<int64_t> labels, const Normalization& normalization);
  int64_t size() const override { return labels_.size(); }
  ImageShape shape() const override { return shape_; }
  const std::vector<int64_t>& labels() const override { return labels_; }
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override;
  // Of one image, C H W.
  absl::Span<const uint8_t> Bytes(int64_t index) const {
    return {bytes_ + index * shape_.elements(),
            static_cast<size_t>(shape_.elements())};
  }
  // What Normalised looks up: u8 [M, C, H, W], which borrows, and f32 [C, 256].
  at::Tensor AllBytes() const;
  at::Tensor NormalisedTables() const;
  // [n, C, H, W] fp32 in [0, 1].
  at::Tensor Pixels(absl::Span<const int64_t> indices) const;

 private:
  // Per channel, the value of each of the 256 bytes.
  using Tables = std::vector<std::vector<float>>;
  at::Tensor Gather(absl::Span<const int64_t> indices,
                    const Tables& tables) const;

  const uint8_t* bytes_;
  ImageShape shape_;
  std::vector<int64_t> labels_;
  Tables normalised_;
  Tables pixels_;
};

// Thread-safe.
class ImageData {
 public:
  // Failure class DATA, naming the path, for a blob of another shape.
  static absl::StatusOr<std::unique_ptr<ImageData>> Open(
      const std::string& path);

  const std::string& name() const { return name_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  int classes() const { return static_cast<int>(class_names_.size()); }
  ImageShape shape() const { return train_->shape(); }
  // kZca: whitened, of any range. Nothing is left to normalise then, and
  // normalization() is the identity.
  Preprocessing preprocessing() const { return preprocessing_; }
  const Normalization& normalization() const { return normalization_; }
  const ImageSource& train() const { return *train_; }
  const ImageSource& test() const { return *test_; }
  // Held out of the training images; null without.
  const ImageSource* validation() const { return validation_.get(); }
  // The training images as they were; null when whitened.
  const ByteImages* train_bytes() const;
  // The file itself.
  const SafetensorsFile& file() const { return *file_; }
  // By class, the ascending indices of its training images.
  const std::vector<std::vector<int64_t>>& train_by_class() const {
    return train_by_class_;
  }

 private:
  ImageData() = default;

  std::unique_ptr<SafetensorsFile> file_;
  std::string name_;
  std::vector<std::string> class_names_;
  Preprocessing preprocessing_ = Preprocessing::kNormalize;
  Normalization normalization_;
  std::unique_ptr<ImageSource> train_;
  std::unique_ptr<ImageSource> test_;
  std::unique_ptr<ImageSource> validation_;
  std::vector<std::vector<int64_t>> train_by_class_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_IMAGE_DATA_H_
