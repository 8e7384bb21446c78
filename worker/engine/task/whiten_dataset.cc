#include "worker/engine/task/whiten_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/zca.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/task/checkpoint.h"

namespace dasm {
namespace {

// A [D, D] matrix of larger images takes gigabytes, its eigenvectors hours.
constexpr int kLargestWhitenedSide = 64;
// Images of one product; decides the bits.
constexpr int64_t kChunk = 512;

absl::Status CheckData(const ImageData& data) {
  const ImageShape shape = data.shape();
  if (shape.height > kLargestWhitenedSide ||
      shape.width > kLargestWhitenedSide) {
    return InvalidField(
        "dataset.preprocessing",
        absl::StrCat("zca is for images of up to ", kLargestWhitenedSide, " x ",
                     kLargestWhitenedSide, " pixels, these have ", shape.height,
                     " x ", shape.width, "; set normalize"));
  }
  const ByteImages* train = data.train_bytes();
  if (train != nullptr && train->size() >= 2) return absl::OkStatus();
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          data.name(), train == nullptr ? ": it is whitened already"
                                        : ": one image cannot be whitened")),
      FailureClass::kData);
}

absl::Status Storage(absl::Status status) {
  return status.ok()
             ? status
             : WithFailureClass(std::move(status), FailureClass::kStorage);
}

std::vector<std::pair<std::string, const ImageSource*>> Splits(
    const ImageData& data) {
  std::vector<std::pair<std::string, const ImageSource*>> splits = {
      {"train", &data.train()}, {"test", &data.test()}};
  if (data.validation() != nullptr) {
    splits.emplace_back("validation", data.validation());
  }
  return splits;
}

// Nothing is kept of a whitening that is stopped: it takes seconds.
absl::Status StopIfAsked(const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const TaskObserver::Wish wish, PollTogether(context));
  if (wish != TaskObserver::Wish::kStop) return absl::OkStatus();
  return WithFailureClass(
      absl::CancelledError("stopped as asked; it begins anew"),
      FailureClass::kPreempted);
}

// What decides a whitening but for rounding, so that a set outlives the bits of
// the machine that whitened for it: epsilon and the training images, by their
// mean, which is exact.
std::string WhiteningName(const Zca& zca, double epsilon) {
  const at::Tensor mean = zca.mean.cpu();
  return absl::StrCat(
      "epsilon ", epsilon, ", mean ",
      Sha256({static_cast<const char*>(mean.const_data_ptr()), mean.nbytes()}));
}

// The whitened data set being written, by the rank in charge.
absl::StatusOr<std::unique_ptr<SafetensorsWriter>> CreateOutput(
    const ImageData& data, const std::string& path,
    const std::string& whitening) {
  std::map<std::string, TensorView> tensors;
  for (const auto& [split, source] : Splits(data)) {
    const std::string images = absl::StrCat(split, "_images");
    const std::string labels = absl::StrCat(split, "_labels");
    tensors[images] = data.file().tensors().at(images);
    tensors[images].dtype = DType::kF32;
    tensors[labels] = data.file().tensors().at(labels);
  }
  std::map<std::string, std::string> metadata = data.file().metadata();
  metadata["preprocessing"] = nlohmann::json(Preprocessing::kZca);
  metadata[kWhitening] = whitening;
  DASM_ASSIGN_OR_RETURN(auto writer,
                        SafetensorsWriter::Create(path, tensors, metadata));
  for (const auto& [split, source] : Splits(data)) {
    const std::string labels = absl::StrCat(split, "_labels");
    const TensorView& view = tensors.at(labels);
    DASM_RETURN_IF_ERROR(
        writer->Write(labels, 0,
                      {static_cast<const char*>(view.data),
                       static_cast<size_t>(view.size_bytes())}));
  }
  return writer;
}

// Whitens one split chunk by chunk, one a rank at a time. `writer` on the rank
// in charge.
absl::Status WhitenSplit(const ByteImages& source, const Zca& zca,
                         const TaskContext& context, const std::string& tensor,
                         SafetensorsWriter* writer) {
  const ShardRunner runner(context.collective, context.device);
  const int64_t elements = source.shape().elements();
  const int64_t chunks = (source.size() + kChunk - 1) / kChunk;
  // While the next chunks are computed.
  std::future<absl::Status> writing;
  const auto written = [&writing] {
    return writing.valid() ? writing.get() : absl::OkStatus();
  };
  for (int64_t first = 0; first < chunks; first += runner.size()) {
    DASM_RETURN_IF_ERROR(StopIfAsked(context));
    const int64_t shards = std::min<int64_t>(runner.size(), chunks - first);
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor rows,
        runner.Gather(
            shards, kChunk * elements, at::kFloat,
            [&](int64_t shard, const at::Tensor& row) {
              const int64_t begin = (first + shard) * kChunk;
              std::vector<int64_t> indices(
                  std::min(kChunk, source.size() - begin));
              std::iota(indices.begin(), indices.end(), begin);
              const at::Tensor whitened =
                  zca.Whiten(source.Pixels(indices).to(context.device));
              row.narrow(0, 0, whitened.numel()).copy_(whitened.flatten());
              row.narrow(0, whitened.numel(), row.numel() - whitened.numel())
                  .zero_();
            }));
    if (writer == nullptr) continue;
    DASM_RETURN_IF_ERROR(written());
    const int64_t images =
        std::min(shards * kChunk, source.size() - first * kChunk);
    constexpr int64_t kBytes = sizeof(float);
    writing = std::async(
        std::launch::async,
        [&tensor, writer, rows = rows.cpu(),
         begin = first * kChunk * elements * kBytes,
         size = static_cast<size_t>(images * elements * kBytes)] {
          return Storage(writer->Write(
              tensor, begin,
              {static_cast<const char*>(rows.const_data_ptr()), size}));
        });
  }
  return written();
}

}  // namespace

absl::StatusOr<TaskOutcome> WhitenDataset(
    const WhitenDatasetParameters& parameters, const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_RETURN_IF_ERROR(CheckData(*data));
  DASM_ASSIGN_OR_RETURN(
      const ZcaFit fit,
      FitZca(*data->train_bytes(), {.epsilon = parameters.epsilon},
             context.collective, context.device,
             [&] { return StopIfAsked(context); }));

  Outputs outputs(context);
  std::unique_ptr<SafetensorsWriter> writer;
  if (context.InCharge()) {
    auto created = CreateOutput(*data, outputs.Path("dataset"),
                                WhiteningName(fit.zca, parameters.epsilon));
    if (!created.ok()) return Storage(created.status());
    writer = *std::move(created);
  }
  const Zca zca = fit.zca.ForWhitening();
  // While the images are whitened.
  auto transform = std::async(std::launch::async, [&outputs, &fit] {
    return outputs.Write("zca",
                         {{"mean", fit.zca.mean.cpu()},
                          {"whiten", fit.zca.whiten.cpu()},
                          {"unwhiten", fit.zca.unwhiten.cpu()}},
                         {});
  });
  for (const auto& [split, source] : Splits(*data)) {
    DASM_RETURN_IF_ERROR(
        WhitenSplit(*dynamic_cast<const ByteImages*>(source), zca, context,
                    absl::StrCat(split, "_images"), writer.get()));
  }
  DASM_RETURN_IF_ERROR(transform.get());
  if (writer != nullptr) {
    DASM_RETURN_IF_ERROR(Storage(writer->Commit()));
    outputs.Add("dataset");
  }
  return outputs.Finish({{"dimensions", fit.zca.mean.numel()},
                         {"largest_eigenvalue", fit.largest_eigenvalue},
                         {"smallest_eigenvalue", fit.smallest_eigenvalue}});
}

}  // namespace dasm
