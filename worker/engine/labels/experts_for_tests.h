// For tests: experts whose answers are known. Networks are one block of four
// channels without a norm that sees the mean brightness of an image: logit k
// of a row of parameters is slopes[k] * brightness + offsets[k].
#ifndef DASM_WORKER_ENGINE_LABELS_EXPERTS_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_LABELS_EXPERTS_FOR_TESTS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "common/base/logging.h"
#include "common/base/temporary_directory.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/labels/label_logits.h"
#include "worker/engine/network/network.h"

namespace dasm {

// What an expert answers at one epoch.
struct LinearAnswer {
  std::vector<double> slopes;
  std::vector<double> offsets;
};

class ExpertsForTests {
 public:
  static constexpr int kClasses = 3;

  // Training image i is all of brightness levels[i] (0 .. 255, not 0) and of
  // class labels[i]; normalised brightness is level / 255.
  ExpertsForTests(const std::vector<int>& levels,
                  const std::vector<int64_t>& labels)
      : folder_(*TemporaryDirectory::Create()) {
    const auto count = static_cast<int64_t>(labels.size());
    std::vector<uint8_t> bytes;
    for (const int level : levels) bytes.insert(bytes.end(), 16, level);
    const std::string path = folder_->path() + "/dataset.safetensors";
    const TensorView images = {DType::kU8, {count, 1, 4, 4}, bytes.data()};
    const TensorView classes = {DType::kI64, {count}, labels.data()};
    DASM_CHECK(WriteSafetensors(path,
                                {{"train_images", images},
                                 {"train_labels", classes},
                                 {"test_images", images},
                                 {"test_labels", classes}},
                                {{"name", "levels"},
                                 {"classes", R"(["a","b","c"])"},
                                 {"mean", "[0]"},
                                 {"std", "[1]"}})
                   .ok());
    data_ = *ImageData::Open(path);
    spec_.depth = 1;
    spec_.width = 4;
    spec_.norm = Norm::kNone;
    network_ = *MakeNetwork(spec_, data_->shape(), kClasses);
  }

  // The next expert: an answer an epoch, from epoch 0.
  void Add(const std::vector<LinearAnswer>& answers) {
    const std::string path =
        absl::StrCat(folder_->path(), "/expert", experts_.size());
    const int epochs = static_cast<int>(answers.size()) - 1;
    auto writer =
        *ExpertWriter::Create(path, {spec_, *network_}, epochs, *data_);
    for (int e = 0; e <= epochs; ++e) {
      const at::Tensor row = Parameters(answers[e]).unsqueeze(0);
      DASM_CHECK(writer->Write(e, row, at::empty({1, 0})).ok());
    }
    DASM_CHECK(writer->Commit().ok());
    experts_.push_back(
        *ExpertFile::Open(path, {spec_, *network_}, *data_, epochs));
  }

  const Experts& experts() const { return experts_; }
  const ImageData& data() const { return *data_; }
  const Network& network() const { return *network_; }

 private:
  at::Tensor Parameters(const LinearAnswer& answer) const {
    const at::Tensor flat = at::zeros({network_->parameters().total()});
    const std::vector<at::Tensor> slices = network_->Slice(flat);
    // The first channel is the image; its pooled pixels are averaged.
    slices[0][0][0][1][1].fill_(1);
    const at::Tensor& weight = slices[slices.size() - 2];
    const int64_t pixels = network_->features() / 4;
    for (int k = 0; k < kClasses; ++k) {
      weight[k].narrow(0, 0, pixels).fill_(answer.slopes[k] / pixels);
      slices.back()[k].fill_(answer.offsets[k]);
    }
    return flat;
  }

  const std::unique_ptr<TemporaryDirectory> folder_;
  std::unique_ptr<ImageData> data_;
  NetworkSpec spec_;
  std::unique_ptr<Network> network_;
  Experts experts_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_LABELS_EXPERTS_FOR_TESTS_H_
