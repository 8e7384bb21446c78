// What each kind of task is asked to do: the result-relevant parameters that
// the planner writes, the action key hashes and the runner reads. One struct a
// kind; their JSON is canonical (sorted keys, shortest round-trip numbers).
//
// Inputs and outputs are named blobs. Every one is a safetensors file unless
// said otherwise:
//   dataset   train_images u8 [N,C,H,W], train_labels i64 [N], test_images,
//             test_labels; metadata "classes" (JSON list of names), "mean",
//             "std" (JSON lists), "name"
//   set       images f32 [M,C,H,W] in [0,1], labels i64 [M], segment i32 [M];
//             metadata "factor". Segment-major, then class-major.
//   segment   a set, and source i64 [M, factor^2]: the training images that the
//             tiles were drawn from (-1: noise)
//   weights   parameters f32 [P], buffers f32 [B]; metadata "network" (JSON)
//   scores    probabilities f32 [N, classes] of the training images
//   pool      members u8 [N] (1: in the pool of its class), weight f32 [N]
//             (sampling weight inside the class; V4), learned u8 [N],
//             loss f32 [N], el2n f32 [N]
#ifndef DASM_COMMON_SPEC_TASK_PARAMETERS_H_
#define DASM_COMMON_SPEC_TASK_PARAMETERS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "nlohmann/json.hpp"

namespace dasm {

// Inputs: files of the job's dataset. Output: dataset.
// Summary: {"train", "test", "classes", "channels", "height", "width",
//           "class_sizes": [..]}.
struct PrepareDatasetParameters {
  static constexpr char kKind[] = "prepare_dataset";
  std::string name;
  std::string format;  // DatasetSpec::Format
  int label_bytes = 1;
  int image_size = 0;
  int channels = 0;
  int classes = 0;
  std::vector<double> mean;
  std::vector<double> std;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PrepareDatasetParameters, name, format,
                                   label_bytes, image_size, channels, classes,
                                   mean, std)

// Inputs: dataset, files or set "source" (when given by digest). Output: set.
// Summary: {"images", "images_per_class", "stored_bytes"}.
struct ImportSetParameters {
  static constexpr char kKind[] = "import_set";
  PixelSpace space = PixelSpace::kPixel;
  int factor = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ImportSetParameters, space, factor)

// Inputs: dataset; from the second segment on also pool and segment.1 ..
// segment.(k-1) (whose sources are used last). Outputs: segment, start (its
// initial tensors, a set).
// Series: "matching_loss" (mean over classes of a pass), "gradient_norm".
// Summary: {"steps", "final_loss", "max_pixel_step"}.
struct DistillSegmentParameters {
  static constexpr char kKind[] = "distill_segment";
  int segment = 0;           // 0-based
  int images_per_class = 0;  // of this segment
  NetworkSpec network;
  GradientMatchingSpec matching;  // inits = those of this segment
  SynthesisSpec synthesis;
  double mix = 1.0;  // share of a real batch from the pool; 1 without a pool
  uint64_t seed = 0;
  ExecutionSpec execution;
  // With ReductionOrder::kFast the number of ranks, on which the bits then
  // depend; 0: ordered.
  int fast_ranks = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DistillSegmentParameters, segment,
                                   images_per_class, network, matching,
                                   synthesis, mix, seed, execution, fast_ranks)

// Trains one network from scratch on segments (inputs dataset, segment.1 ..)
// or, with `real`, on the training images. Output: weights.
// Series: "training_loss". Summary: {"steps", "final_loss"}.
struct TrainDiscriminatorParameters {
  static constexpr char kKind[] = "train_discriminator";
  int index = 0;  // which of the D networks
  bool real = false;
  NetworkSpec network;
  TrainingRecipe training;
  int factor = 1;
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainDiscriminatorParameters, index, real,
                                   network, training, factor, seed, execution)

// Inputs: dataset, weights. Output: scores.
// Summary: {"training_accuracy"} in percent.
struct ScoreSamplesParameters {
  static constexpr char kKind[] = "score_samples";
  NetworkSpec network;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ScoreSamplesParameters, network, execution)

// Inputs: dataset, scores.1 .. scores.D, segment.1 .. (those before the pool's;
// for the diagnostics), optionally previous_pool and reference_scores. Output:
// pool.
// Summary: {"learned_fraction" 0-1, "learned_fraction_by_class": [..],
//   "pool_size_by_class": [..], "jaccard_previous", "jaccard_discriminators",
//   "newly_learned", "forgotten", "never_learned",
//   "learned_fraction_by_decile": [..] (with a reference),
//   "learned_fraction_tile_sources", "learned_fraction_other_images" (of the
//   training images that the segments' tiles started as, and of the rest),
//   "rule" (the one that was applied: see the 1 % fallback)}.
struct SelectPoolParameters {
  static constexpr char kKind[] = "select_pool";
  PoolRule pool = PoolRule::kMisclassified;
  double trim = 0.05;
  double quantile_floor = 0.2;
  double el2n_threshold = 0.5;
  double weight_floor = 0.05;
  double weight_power = 1.0;
  int minimum = 128;  // max(2 * real_batch, factor^2 * segment size)
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SelectPoolParameters, pool, trim,
                                   quantile_floor, el2n_threshold, weight_floor,
                                   weight_power, minimum)

// Inputs: dataset. Output: set. `tiles`: factor^2 distinct random training
// images to a stored image; else one to one with factor 1.
struct SelectCoresetParameters {
  static constexpr char kKind[] = "select_coreset";
  std::string rule;  // "random" or "tiles"
  int images_per_class = 0;
  int factor = 1;
  uint64_t seed = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SelectCoresetParameters, rule,
                                   images_per_class, factor, seed)

// Inputs: dataset, set.1 .. set.K (sets or segments, trained on as a union).
// Output: predictions (i32 [test images]). Series: "training_loss".
// Summary: {"accuracy" percent at the last step, "steps", "decoded_images"}.
struct EvaluateParameters {
  static constexpr char kKind[] = "evaluate";
  NetworkSpec network;
  TrainingRecipe training;
  int repeat = 0;
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EvaluateParameters, network, training,
                                   repeat, seed, execution)

// Inputs: dataset, segment.1 .. segment.K, start.1 .. start.K. Outputs:
// synthetic (images, labels, segment), start, grid (PNG: a row a class).
// Summary: {"images", "stored_bytes"}.
struct AssembleParameters {
  static constexpr char kKind[] = "assemble";
  int factor = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AssembleParameters, factor)

using TaskParameters = std::variant<
    PrepareDatasetParameters, ImportSetParameters, DistillSegmentParameters,
    TrainDiscriminatorParameters, ScoreSamplesParameters, SelectPoolParameters,
    SelectCoresetParameters, EvaluateParameters, AssembleParameters>;

std::string_view KindOf(const TaskParameters& parameters);
// Compact JSON, keys sorted.
std::string ToCanonicalJson(const TaskParameters& parameters);
// INVALID_ARGUMENT: unknown kind, or JSON of another shape (a member missing,
// unknown or of another type).
absl::StatusOr<TaskParameters> ParseTaskParameters(std::string_view kind,
                                                   std::string_view json);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TASK_PARAMETERS_H_
