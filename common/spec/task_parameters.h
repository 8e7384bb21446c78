// What each kind of task is asked to do: the result-relevant parameters that
// the planner writes, the action key hashes and the runner reads. One struct a
// kind; their JSON is canonical (sorted keys, shortest round-trip numbers).
//
// Inputs and outputs are named blobs. Every one is a safetensors file unless
// said otherwise:
//   dataset   train_images u8 [N,C,H,W], train_labels i64 [N], test_images,
//             test_labels; metadata "classes" (JSON list of names), "mean",
//             "std" (JSON lists), "name"; with a validation share also
//             validation_images, validation_labels. Images may be f32 instead,
//             already whitened: metadata "preprocessing": "zca" and
//             "whitening" (epsilon and what it was fitted to; the same on any
//             machine)
//   zca       mean f32 [D], whiten f32 [D,D], unwhiten f32 [D,D] of pixels in
//             [0,1], D = CHW: z = (x - mean) whiten, x = z unwhiten + mean
//   set       images f32 [M,C,H,W] in [0,1], labels i64 [M], segment i32 [M];
//             metadata "factor". Segment-major, then class-major.
//             metadata "space": "pixel" (also where absent) or "preprocessed"
//             (normalised or whitened as the data set, any range; trajectory
//             matching), and then "whitening" as the data set has it.
//             Optional: label_logits f32 [M,classes] (targets are their
//             softmax), step_size f32 [segments in the file]
//   segment   a set, and source i64 [M, factor^2]: the training images that the
//             tiles were drawn from (-1: noise)
//   weights   parameters f32 [P], buffers f32 [B]; metadata "network" (JSON)
//   scores    probabilities f32 [N, classes] of the training images; with
//             `grand` also feature_norm f32 [N], the length of the embedding
//   ranking   score f32 [N] (higher: harder), order i64 [N]: image numbers,
//             class after class, each from easy to hard; metadata "rule"
//   expert    trajectory f32 [epochs+1, P], row 0 before the first step;
//             buffers f32 [epochs+1, B] with BatchNorm; metadata "network"
//             (JSON), "epochs", "data" (JSON: name, preprocessing, classes,
//             channels, height, width, train_images)
//   range     start_epoch_min, start_epoch_initial, start_epoch_max i64 [1];
//   the
//             curves they follow from: probe_loss f32 [probes, start epochs],
//             probe_bounds i64 [probes, 2]
//   curves    what a run recorded: iteration i64 [R], loss f32 [R], step_size
//             f32 [R], layer_loss f32 [R, layers] (share of the loss by
//             parameter tensor), label_entropy f32 [R] (mean, in nats; with
//             soft labels), probe_iteration i64 [Q], probe_loss f32 [Q, start
//             epochs]; metadata "layers" (JSON list of names)
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
  double validation = 0;  // share of each class
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PrepareDatasetParameters, name, format,
                                   label_bytes, image_size, channels, classes,
                                   mean, std, validation)

// ZCA whitening fitted on the training images and applied to every split.
// Inputs: dataset. Outputs: dataset (whitened), zca. Summary: {"dimensions",
// "largest_eigenvalue", "smallest_eigenvalue"}.
struct WhitenDatasetParameters {
  static constexpr char kKind[] = "whiten_dataset";
  double epsilon = 0.1;  // added to the eigenvalues
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WhitenDatasetParameters, epsilon)

// Inputs: dataset, file "scores" (.npy). Output: ranking.
struct ImportScoresParameters {
  static constexpr char kKind[] = "import_scores";
  std::string rule = "file";
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ImportScoresParameters, rule)

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
  // Whether one of fast_ranks trains and the others match.
  bool fast_trainer = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DistillSegmentParameters, segment,
                                   images_per_class, network, matching,
                                   synthesis, mix, seed, execution, fast_ranks,
                                   fast_trainer)

// Networks that begin where training on the earlier segments (segment.1 ..)
// has left them; epochs a stage.
struct ExpertStart {
  bool trained = false;
  Order order = Order::kCumulative;
  int epochs = 0;
  // With steps 0, and learning_rate 0: the segments' own step sizes.
  TrainingRecipe training;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExpertStart, trained, order, epochs,
                                   training)

// Experts first .. first + count - 1, trained as one group. Inputs: dataset;
// ranking (with a schedule); segment.1 .. (with start.trained); pool (then an
// epoch walks the pool and as many random other images of each class, drawn
// anew for every epoch). Outputs: expert.1 .. expert.count. Series:
// "training_loss". Summary: {"epochs", "final_loss", "training_accuracy"}.
struct TrainExpertsParameters {
  static constexpr char kKind[] = "train_experts";
  int first = 0;  // 0-based
  int count = 1;
  NetworkSpec network;
  ExpertTraining training;
  ExpertStart start;
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainExpertsParameters, first, count,
                                   network, training, start, seed, execution)

// Inputs: dataset, scores.1 .. scores.R. Output: ranking by the mean score.
// Summary: {"runs", "mean_score"}.
struct RankSamplesParameters {
  static constexpr char kKind[] = "rank_samples";
  ScoreRule rule = ScoreRule::kEl2n;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankSamplesParameters, rule)

// One segment by trajectory matching. Inputs: dataset, expert.1 .. expert.E;
// segment.1 .. (the earlier ones); optionally range, pool (initial images come
// from it) and probe (a held-out expert). Outputs: segment (a set; the moving
// average where there is one), start, curves; raw (the pixels that were
// averaged); snapshot.I for every snapshot iteration I but the last, and
// raw_snapshot.I beside a moving average.
// Series: "matching_loss", "step_size", "gradient_norm".
// Summary: {"iterations", "skipped", "final_loss", "step_size",
//   "label_entropy" (soft labels), "peak_memory_bytes"}.
struct MatchTrajectoriesParameters {
  static constexpr char kKind[] = "match_trajectories";
  int segment = 0;  // 0-based
  int images_per_class = 0;
  NetworkSpec network;
  TrajectoryMatchingSpec matching;  // of this segment
  Init init = Init::kReal;
  bool visible_earlier = false;  // student steps on earlier segments too
  uint64_t seed = 0;
  ExecutionSpec execution;
  int fast_ranks = 0;  // as DistillSegmentParameters
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MatchTrajectoriesParameters, segment,
                                   images_per_class, network, matching, init,
                                   visible_earlier, seed, execution, fast_ranks)

// DATM's matching range (Guo et al. 2024, A.6) from probe runs on a held-out
// expert. Inputs: dataset, expert.1 .., probe. Output: range. Summary:
// {"start_epoch_min", "start_epoch_initial", "start_epoch_max", "probes"}.
struct FindRangeParameters {
  static constexpr char kKind[] = "find_range";
  int images_per_class = 0;
  NetworkSpec network;
  TrajectoryMatchingSpec matching;
  Init init = Init::kReal;
  int iterations = 50;  // of a probe run
  int window = 10;      // start epochs of a probe run
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FindRangeParameters, images_per_class,
                                   network, matching, init, iterations, window,
                                   seed, execution)

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
  // With several segments; other orders than union train `epochs` a stage.
  Order order = Order::kUnion;
  int epochs = 0;
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainDiscriminatorParameters, index, real,
                                   network, training, factor, order, epochs,
                                   seed, execution)

// Inputs: dataset, weights. Output: scores.
// Summary: {"training_accuracy"} in percent.
struct ScoreSamplesParameters {
  static constexpr char kKind[] = "score_samples";
  NetworkSpec network;
  bool grand = false;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ScoreSamplesParameters, network, grand,
                                   execution)

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

// One training, tested on every split asked for. Inputs: dataset, set.1 ..
// set.K (sets or segments). Outputs: predictions (i32 [test images]);
// validation_predictions. Series: "training_loss".
// Summary: {"accuracy" percent of the test images at the last step,
//   "validation_accuracy" that of the validation split, "steps",
//   "decoded_images", "learning_rates" (recipe trajectory)}.
// Recipe trajectory with learning_rate 0: the sets' own step sizes, in a union
// that of the last segment.
struct EvaluateParameters {
  static constexpr char kKind[] = "evaluate";
  NetworkSpec network;
  TrainingRecipe training;
  Order order = Order::kUnion;
  int epochs = 0;  // of each stage, unless the order is union
  Split split = Split::kTest;
  int repeat = 0;
  uint64_t seed = 0;
  ExecutionSpec execution;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EvaluateParameters, network, training, order,
                                   epochs, split, repeat, seed, execution)

// Inputs: dataset, segment.1 .. segment.K, start.1 .. start.K; zca for whitened
// data. Outputs: synthetic (a set), start, grid (PNG: a row a class). Of sets
// in preprocessed space the synthetic one also holds `pixels` f32 [M,C,H,W],
// the images back in pixel space, not clamped. Summary: {"images",
// "stored_bytes"}.
struct AssembleParameters {
  static constexpr char kKind[] = "assemble";
  int factor = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(AssembleParameters, factor)

using TaskParameters = std::variant<
    PrepareDatasetParameters, WhitenDatasetParameters, ImportSetParameters,
    ImportScoresParameters, DistillSegmentParameters, TrainExpertsParameters,
    MatchTrajectoriesParameters, FindRangeParameters,
    TrainDiscriminatorParameters, ScoreSamplesParameters, RankSamplesParameters,
    SelectPoolParameters, SelectCoresetParameters, EvaluateParameters,
    AssembleParameters>;

std::string_view KindOf(const TaskParameters& parameters);
// Compact JSON, keys sorted.
std::string ToCanonicalJson(const TaskParameters& parameters);
// INVALID_ARGUMENT: unknown kind, or JSON of another shape (a member missing,
// unknown or of another type).
absl::StatusOr<TaskParameters> ParseTaskParameters(std::string_view kind,
                                                   std::string_view json);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TASK_PARAMETERS_H_
