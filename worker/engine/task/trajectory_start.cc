#include "worker/engine/task/trajectory_start.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/init/correct_images.h"
#include "worker/engine/init/initial_images.h"

namespace dasm {
namespace {

absl::Status BadClass(const ImageData& data, int label,
                      absl::string_view what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          data.name(), ": class \"", data.class_names()[label], "\" ", what)),
      FailureClass::kData);
}

class Starter {
 public:
  Starter(const TrajectoryStartOptions& options, const ImageData& data,
          const Network& network, const Experts& experts,
          const std::vector<ClassPool>& pools,
          const absl::flat_hash_set<int64_t>& used, const TaskContext& context)
      : options_(options),
        data_(data),
        experts_(experts),
        pools_(pools),
        used_(used),
        context_(context),
        machine_{network, options.execution, context.collective, context.device,
                 context.graph} {}

  absl::StatusOr<SetData> Draw() {
    const int64_t n = options_.images_per_class;
    std::vector<at::Tensor> images, labels, sources;
    for (int c = 0; c < data_.classes(); ++c) {
      labels.push_back(at::full({n}, c, at::kLong));
      if (options_.init == Init::kNoise) {
        const ImageShape shape = data_.shape();
        images.push_back(
            NormalImages(options_.seed, static_cast<uint32_t>(c),
                         {n, shape.channels, shape.height, shape.width}));
        sources.push_back(at::full({n, 1}, -1, at::kLong));
        continue;
      }
      DASM_ASSIGN_OR_RETURN(const std::vector<int64_t> drawn, RealImages(c));
      images.push_back(data_.train().Normalised(drawn));
      sources.push_back(at::tensor(drawn, at::kLong).view({n, 1}));
    }
    SetData set;
    set.preprocessed = true;
    set.images = at::cat(images).contiguous();
    set.labels = at::cat(labels);
    set.segment = at::full({set.labels.numel()}, options_.segment, at::kInt);
    set.source = at::cat(sources);
    set.step_size = at::full({1}, options_.matching.step_size, at::kFloat);
    DASM_RETURN_IF_ERROR(Label(&set));
    return set;
  }

 private:
  absl::StatusOr<std::vector<int64_t>> RealImages(int label) {
    const ClassPool& pool = pools_[label];
    const std::vector<int64_t>& whole = data_.train_by_class()[label];
    const std::vector<int64_t>& candidates =
        pool.members.empty() ? whole : pool.members;
    if (candidates.empty()) {
      return BadClass(data_, label, "has no training image");
    }
    const int64_t n = options_.images_per_class;
    if (options_.init != Init::kCorrect) {
      return DrawSources({options_.seed, static_cast<uint32_t>(label), n},
                         candidates, pool.weights, used_);
    }
    DASM_ASSIGN_OR_RETURN(CorrectImages found,
                          Recognised(label, candidates, pool.weights));
    // A pool of the hardest images may be too hard for every expert.
    if (found.images.empty() && candidates.size() < whole.size()) {
      Warn(absl::StrCat("class \"", data_.class_names()[label],
                        "\": no expert classifies an image of its pool of ",
                        candidates.size(),
                        " correctly; its initial images come from the whole "
                        "class"));
      DASM_ASSIGN_OR_RETURN(found, Recognised(label, whole, {}));
    }
    if (found.images.empty()) {
      return BadClass(
          data_, label,
          absl::StrCat("has no training image that one of ", experts_.size(),
                       " experts classifies correctly; train the experts for "
                       "more epochs, use a later "
                       "matching.trajectory.label_epoch or synthesis.init: "
                       "real"));
    }
    if (found.unrecognised > 0) {
      Warn(absl::StrCat("class \"", data_.class_names()[label],
                        "\": ", found.unrecognised, " of ", n,
                        " initial images are classified correctly by no "
                        "expert"));
    }
    return std::move(found.images);
  }

  absl::StatusOr<CorrectImages> Recognised(
      int label, const std::vector<int64_t>& candidates,
      const std::vector<float>& weights) {
    const std::vector<int64_t> order =
        DrawSources({options_.seed, static_cast<uint32_t>(label),
                     static_cast<int64_t>(candidates.size())},
                    candidates, weights, used_);
    return FindCorrectImages(machine_, experts_, options_.matching.label_epoch,
                             data_.train(), label, order,
                             options_.images_per_class);
  }

  absl::Status Label(SetData* set) {
    const TrajectoryMatchingSpec& spec = options_.matching;
    if (spec.labels == Labels::kHard) return absl::OkStatus();
    // A teacher's are computed anew at once; until then the first expert's.
    const LabelExperts which = spec.labels == Labels::kTeacher
                                   ? LabelExperts::kFirst
                                   : spec.label_experts;
    DASM_ASSIGN_OR_RETURN(
        const LabelLogits labels,
        InitialLabelLogits(machine_, experts_, which, spec.label_epoch,
                           set->images, set->labels));
    set->label_logits = labels.logits;
    if (!labels.unrecognised.empty()) {
      Warn(absl::StrCat(labels.unrecognised.size(), " of ", set->images.size(0),
                        " initial images are classified correctly by no "
                        "expert; their labels are the mean over all experts"));
    }
    return absl::OkStatus();
  }

  void Warn(const std::string& text) {
    if (context_.InCharge()) context_.observer->Line("WARNING", text);
  }

  const TrajectoryStartOptions& options_;
  const ImageData& data_;
  const Experts& experts_;
  const std::vector<ClassPool>& pools_;
  const absl::flat_hash_set<int64_t>& used_;
  const TaskContext& context_;
  const LabelMachine machine_;
};

}  // namespace

absl::StatusOr<SetData> DrawTrajectoryStart(
    const TrajectoryStartOptions& options, const ImageData& data,
    const Network& network, const Experts& experts,
    const std::vector<ClassPool>& pools,
    const absl::flat_hash_set<int64_t>& used, const TaskContext& context) {
  return Starter(options, data, network, experts, pools, used, context).Draw();
}

}  // namespace dasm
