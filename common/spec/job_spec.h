// A validated, fully expanded job: every value is set and within range. Made
// from the proto by job_spec_proto.h, the only validation; read by the planner
// and, part by part, by the engine.
//
// The JSON of these structs (nlohmann, keys sorted) is the canonical form that
// action keys hash: renaming a member changes every key.
#ifndef DASM_COMMON_SPEC_JOB_SPEC_H_
#define DASM_COMMON_SPEC_JOB_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace dasm {

enum class Norm { kNone, kInstance, kBatch };
NLOHMANN_JSON_SERIALIZE_ENUM(Norm, {{Norm::kNone, "none"},
                                    {Norm::kInstance, "instance"},
                                    {Norm::kBatch, "batch"}})

enum class Augmentation { kColor, kCrop, kCutout, kFlip, kScale, kRotate };
NLOHMANN_JSON_SERIALIZE_ENUM(Augmentation, {{Augmentation::kColor, "color"},
                                            {Augmentation::kCrop, "crop"},
                                            {Augmentation::kCutout, "cutout"},
                                            {Augmentation::kFlip, "flip"},
                                            {Augmentation::kScale, "scale"},
                                            {Augmentation::kRotate, "rotate"}})

enum class Distance { kL1, kMse, kCosine };
NLOHMANN_JSON_SERIALIZE_ENUM(Distance, {{Distance::kL1, "l1"},
                                        {Distance::kMse, "mse"},
                                        {Distance::kCosine, "cosine"}})

enum class Layers { kConvolutions, kWeights, kAll };
NLOHMANN_JSON_SERIALIZE_ENUM(Layers, {{Layers::kConvolutions, "convolutions"},
                                      {Layers::kWeights, "weights"},
                                      {Layers::kAll, "all"}})

enum class Init { kReal, kNoise, kCorrect };
NLOHMANN_JSON_SERIALIZE_ENUM(Init, {{Init::kReal, "real"},
                                    {Init::kNoise, "noise"},
                                    {Init::kCorrect, "correct"}})

enum class PoolRule { kAll, kMisclassified, kLossQuantile, kEl2n, kWeighted };
NLOHMANN_JSON_SERIALIZE_ENUM(PoolRule,
                             {{PoolRule::kAll, "all"},
                              {PoolRule::kMisclassified, "misclassified"},
                              {PoolRule::kLossQuantile, "loss_quantile"},
                              {PoolRule::kEl2n, "el2n"},
                              {PoolRule::kWeighted, "weighted"}})

enum class Recipe { kIdc, kDc, kTrajectory };
NLOHMANN_JSON_SERIALIZE_ENUM(Recipe, {{Recipe::kIdc, "idc"},
                                      {Recipe::kDc, "dc"},
                                      {Recipe::kTrajectory, "trajectory"}})

// How a network is trained on several segments: on all at once; stage k on the
// union of segments 1 to k; stage k on segment k alone.
enum class Order { kUnion, kCumulative, kStaged };
NLOHMANN_JSON_SERIALIZE_ENUM(Order, {{Order::kUnion, "union"},
                                     {Order::kCumulative, "cumulative"},
                                     {Order::kStaged, "staged"}})

// Which accuracy is the job's result (proto: EvaluationSpec.Protocol).
enum class Protocol { kLast, kValidation, kPaper };
NLOHMANN_JSON_SERIALIZE_ENUM(Protocol, {{Protocol::kLast, "last"},
                                        {Protocol::kValidation, "validation"},
                                        {Protocol::kPaper, "paper"}})

// What a trained network is tested on.
enum class Split { kTest, kTestAndValidation };
NLOHMANN_JSON_SERIALIZE_ENUM(Split, {{Split::kTest, "test"},
                                     {Split::kTestAndValidation,
                                      "test_and_validation"}})

enum class Preprocessing { kNormalize, kZca };
NLOHMANN_JSON_SERIALIZE_ENUM(Preprocessing,
                             {{Preprocessing::kNormalize, "normalize"},
                              {Preprocessing::kZca, "zca"}})

enum class Estimator { kStepAdjoint, kFullGraph, kTesla };
NLOHMANN_JSON_SERIALIZE_ENUM(Estimator,
                             {{Estimator::kStepAdjoint, "step_adjoint"},
                              {Estimator::kFullGraph, "full_graph"},
                              {Estimator::kTesla, "tesla"}})

enum class Labels { kHard, kSoftFixed, kSoftLearned, kTeacher };
NLOHMANN_JSON_SERIALIZE_ENUM(Labels, {{Labels::kHard, "hard"},
                                      {Labels::kSoftFixed, "soft_fixed"},
                                      {Labels::kSoftLearned, "soft_learned"},
                                      {Labels::kTeacher, "teacher"}})

enum class LabelExperts { kAllCorrect, kFirst };
NLOHMANN_JSON_SERIALIZE_ENUM(LabelExperts,
                             {{LabelExperts::kAllCorrect, "all_correct"},
                              {LabelExperts::kFirst, "first"}})

enum class StepSizeForm { kPlain, kClamped, kLog };
NLOHMANN_JSON_SERIALIZE_ENUM(StepSizeForm, {{StepSizeForm::kPlain, "plain"},
                                            {StepSizeForm::kClamped, "clamped"},
                                            {StepSizeForm::kLog, "log"}})

enum class ExpertOptimizer { kSgd, kGsam };
NLOHMANN_JSON_SERIALIZE_ENUM(ExpertOptimizer,
                             {{ExpertOptimizer::kSgd, "sgd"},
                              {ExpertOptimizer::kGsam, "gsam"}})

enum class ScoreRule { kEl2n, kGrand, kFile };
NLOHMANN_JSON_SERIALIZE_ENUM(ScoreRule, {{ScoreRule::kEl2n, "el2n"},
                                         {ScoreRule::kGrand, "grand"},
                                         {ScoreRule::kFile, "file"}})

enum class Baseline { kRandom, kTiles, kStart };
NLOHMANN_JSON_SERIALIZE_ENUM(Baseline, {{Baseline::kRandom, "random"},
                                        {Baseline::kTiles, "tiles"},
                                        {Baseline::kStart, "start"}})

// How the ranks of a gang add their shards.
enum class ReductionOrder { kOrdered, kFast };

// When the ranks of a gang exchange image gradients; never changes a bit.
enum class Exchange { kEveryStep, kDeferred };

// What becomes of a task that its device has too little memory for.
enum class OnOom { kFail, kReplan };

enum class PixelSpace { kPixel, kNormalized };
NLOHMANN_JSON_SERIALIZE_ENUM(PixelSpace,
                             {{PixelSpace::kPixel, "pixel"},
                              {PixelSpace::kNormalized, "normalized"}})

// Where the files are and what they must hold; resolved at submit by
// common/dataset/source.h.
struct DatasetSpec {
  std::string name;  // "fashion-mnist", or "custom"
  enum class Format { kIdx, kCifarBinary, kImageFolder, kSvhnMat };
  Format format = Format::kIdx;
  // By role ("train_images", "train_labels", "train.0", "test.0", ...); paths
  // relative to a --data root. For an image folder: "train", "test".
  std::map<std::string, std::string> files;
  int label_bytes = 1;  // CIFAR binary
  int image_size = 0;   // image folder: side; else from the files
  int channels = 0;     // image folder; else from the files
  int classes = 0;      // 0: from the files
  // Per channel, of pixels in [0, 1]; empty: measured by prepare_dataset.
  std::vector<double> mean;
  std::vector<double> std;
  Preprocessing preprocessing = Preprocessing::kNormalize;
  double validation = 0;  // 0 .. 0.5, share of each class
  bool operator==(const DatasetSpec&) const = default;
};
NLOHMANN_JSON_SERIALIZE_ENUM(
    DatasetSpec::Format, {{DatasetSpec::Format::kIdx, "idx"},
                          {DatasetSpec::Format::kCifarBinary, "cifar_binary"},
                          {DatasetSpec::Format::kImageFolder, "image_folder"},
                          {DatasetSpec::Format::kSvhnMat, "svhn_mat"}})

struct NetworkSpec {
  // convnet, mlp, lenet, alexnet, vgg11, resnet18 or resnet18-ap
  std::string name = "convnet";
  int depth = 3;    // 1 .. 8; convnet only, else 0
  int width = 128;  // 1 .. 1024; convnet only, else 0
  // Of mlp, lenet and alexnet: none.
  Norm norm = Norm::kInstance;
  // "convnet-d3-w128-instance", "resnet18-batch", "mlp"
  std::string ToString() const;
  bool operator==(const NetworkSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NetworkSpec, name, depth, width, norm)

// Arithmetic groups (design: "execution groups"): fixed by the spec, part of
// the key, independent of ranks.
struct ExecutionSpec {
  int train_group = 16;     // images of a training batch per kernel call
  int forward_group = 100;  // images of an inference batch
  // "fp32"; "tf32" and "bf16" (convolutions and matrix products) on devices.
  std::string precision = "fp32";
  // Images of a class in one kernel call of a matching step; 0: all of them.
  int micro_batch = 0;
  // Not in the JSON: only distill_segment runs on several ranks, and its
  // fast_ranks says the same and how many.
  ReductionOrder reduction = ReductionOrder::kOrdered;
  bool operator==(const ExecutionSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExecutionSpec, train_group, forward_group,
                                   precision, micro_batch)

// Zhao et al. 2021, Kim et al. 2022 (IDC, eq. 4).
struct GradientMatchingSpec {
  Distance distance = Distance::kMse;
  Layers layers = Layers::kConvolutions;
  int inits = 2000;
  int later_inits = 2000;
  int steps_per_init = 100;
  int real_batch = 64;
  int synthetic_batch = 128;
  double image_learning_rate = 5e-3;
  bool scale_learning_rate = true;
  int base_size = 32;
  double image_momentum = 0.5;
  std::vector<Augmentation> augmentation;
  int net_steps = 8;
  int net_batch = 64;
  double net_learning_rate = 0.01;
  double net_momentum = 0.9;
  double net_weight_decay = 5e-4;
  std::vector<Augmentation> net_augmentation;
  double net_cutmix = 0.5;
  // Networks whose image gradients are averaged for one update; divides inits
  // and later_inits.
  int inits_per_step = 1;
  bool operator==(const GradientMatchingSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GradientMatchingSpec, distance, layers,
                                   inits, later_inits, steps_per_init,
                                   real_batch, synthetic_batch,
                                   image_learning_rate, scale_learning_rate,
                                   base_size, image_momentum, augmentation,
                                   net_steps, net_batch, net_learning_rate,
                                   net_momentum, net_weight_decay,
                                   net_augmentation, net_cutmix, inits_per_step)

// Trajectory matching of one segment (Cazenavette et al. 2022 and successors);
// the proto has the meaning of each value.
struct TrajectoryMatchingSpec {
  Estimator estimator = Estimator::kStepAdjoint;
  int iterations = 5000;
  int student_steps = 50;   // N
  int matched_epochs = 2;   // M
  int start_epoch_min = 0;  // T-
  int start_epoch_initial = 2;
  int start_epoch_max = 2;  // T+, excluded
  int growth_iterations = 0;
  bool find_range = false;
  int batch = 0;  // 0: the whole set
  double image_learning_rate = 100;
  double image_momentum = 0.5;
  double step_size = 0.01;
  double step_size_learning_rate = 1e-5;
  double step_size_momentum = 0.5;
  StepSizeForm step_size_form = StepSizeForm::kPlain;
  Labels labels = Labels::kHard;
  LabelExperts label_experts = LabelExperts::kAllCorrect;
  int label_epoch = -1;
  double label_learning_rate = 0;
  double label_momentum = 0.9;
  double skip_threshold = 0;
  double pixel_ema = 0;
  double mask_from = 0;
  double mask_to = 0;
  double mask_smallest = 0;
  int trajectories_per_step = 1;
  std::vector<Augmentation> augmentation;
  int snapshot_interval = 0;
  int probe_interval = 0;
  bool operator==(const TrajectoryMatchingSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    TrajectoryMatchingSpec, estimator, iterations, student_steps,
    matched_epochs, start_epoch_min, start_epoch_initial, start_epoch_max,
    growth_iterations, find_range, batch, image_learning_rate, image_momentum,
    step_size, step_size_learning_rate, step_size_momentum, step_size_form,
    labels, label_experts, label_epoch, label_learning_rate, label_momentum,
    skip_threshold, pixel_ema, mask_from, mask_to, mask_smallest,
    trajectories_per_step, augmentation, snapshot_interval, probe_interval)

// PAD's easy-to-hard data schedule (Li et al. 2024): epoch e, counted from 0,
// of a class of n images uses the easiest
//   floor(n min(1, initial_share + (1 - initial_share) e / growth_epochs))
// and none of the easiest floor(n share) once e > after_epoch.
struct DataScheduleSpec {
  bool enabled = false;
  double initial_share = 1;
  int growth_epochs = 0;
  struct Removal {
    int after_epoch = 0;
    double share = 0;
    bool operator==(const Removal&) const = default;
  };
  std::vector<Removal> removals;  // by rising after_epoch and share
  bool gradual = false;
  bool operator==(const DataScheduleSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DataScheduleSpec::Removal, after_epoch,
                                   share)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DataScheduleSpec, enabled, initial_share,
                                   growth_epochs, removals, gradual)

// How one expert is trained.
struct ExpertTraining {
  int epochs = 50;
  int batch = 256;
  double learning_rate = 0.01;
  double momentum = 0;
  double weight_decay = 0;
  ExpertOptimizer optimizer = ExpertOptimizer::kSgd;
  double gsam_rho = 0.01;
  double gsam_alpha = 0.3;
  std::vector<Augmentation> augmentation;
  DataScheduleSpec schedule;
  bool operator==(const ExpertTraining&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExpertTraining, epochs, batch, learning_rate,
                                   momentum, weight_decay, optimizer, gsam_rho,
                                   gsam_alpha, augmentation, schedule)

struct ExpertSpec {
  int count = 100;
  ExpertTraining training;
  uint64_t seed = 0;
  int group = 1;
  ScoreRule score = ScoreRule::kEl2n;
  int score_runs = 10;
  int score_epoch = 20;
  std::string score_file;
  bool operator==(const ExpertSpec&) const = default;
};

// A segment's own values of trajectory matching, complete.
struct StageSpec {
  int iterations = 0;
  int student_steps = 0;
  int matched_epochs = 0;
  int start_epoch_min = 0;
  int start_epoch_initial = 0;
  int start_epoch_max = 0;
  int growth_iterations = 0;
  int batch = 0;
  double step_size = 0;
  int expert_epochs = 0;
  bool operator==(const StageSpec&) const = default;
};

struct SynthesisSpec {
  int factor = 2;  // 1 .. 8
  Init init = Init::kReal;
  bool operator==(const SynthesisSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SynthesisSpec, factor, init)

// The values of DASM's axes; with one segment the rest has no effect.
struct SequenceSpec {
  std::vector<int> segments;  // sums to images_per_class
  PoolRule pool = PoolRule::kMisclassified;
  double mix = 0.5;    // 0 .. 1
  double trim = 0.05;  // 0 .. 0.5
  int discriminators = 3;
  int discriminator_epochs = 300;
  int discriminator_steps = 20000;
  double quantile_floor = 0.2;
  double el2n_threshold = 0.5;
  double weight_floor = 0.05;
  double weight_power = 1.0;
  int reference_steps = 0;
  // Not in the JSON, which no task has.
  bool seqmatch = false;
  std::vector<StageSpec> stages;  // trajectory matching: one a segment
  bool visible_earlier = false;   // the student steps on earlier segments too
  bool operator==(const SequenceSpec&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SequenceSpec, segments, pool, mix, trim,
                                   discriminators, discriminator_epochs,
                                   discriminator_steps, quantile_floor,
                                   el2n_threshold, weight_floor, weight_power,
                                   reference_steps)

// How a network is trained from scratch on a set and tested; one Trainer
// serves evaluation, discriminators and reference networks.
struct TrainingRecipe {
  Recipe recipe = Recipe::kIdc;
  int steps = 0;  // optimiser steps; > 0 once planned
  int batch = 64;
  double learning_rate = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  std::vector<Augmentation> augmentation;
  double cutmix = 0.5;
  bool operator==(const TrainingRecipe&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainingRecipe, recipe, steps, batch,
                                   learning_rate, momentum, weight_decay,
                                   augmentation, cutmix)

struct EvaluationSpec {
  // `training.steps` 0: epochs of the evaluated set.
  TrainingRecipe training;
  int epochs = 1000;
  std::vector<NetworkSpec> networks;
  int repeats = 3;
  std::vector<Baseline> baselines;
  bool prefixes = true;
  uint64_t seed = 0;
  std::vector<Order> orders = {Order::kUnion};  // at least one
  Protocol protocol = Protocol::kLast;
  bool operator==(const EvaluationSpec&) const = default;
};

struct SyntheticSetSpec {
  // By role: "npz", or "images" and "labels"; relative to a --data root.
  std::map<std::string, std::string> files;
  std::string digest;  // of a stored synthetic.safetensors; else empty
  PixelSpace space = PixelSpace::kPixel;
  bool operator==(const SyntheticSetSpec&) const = default;
};

struct ResourceSpec {
  int ranks = 1;
  int priority = 0;                 // -1000 .. 1000
  double checkpoint_interval = 60;  // seconds
  int checkpoint_steps = 0;         // beside it; 0: by time only
  // A gang that lost a rank waits `regroup_wait` seconds for its old size, then
  // goes on with at least `min_ranks`. Equal to `ranks` with
  // ReductionOrder::kFast.
  int min_ranks = 1;
  double regroup_wait = 30;
  Exchange exchange = Exchange::kEveryStep;
  OnOom on_oom = OnOom::kFail;
  // Rank 0 of two or more trains the networks, the others match; never changes
  // a bit with ReductionOrder::kOrdered.
  bool trainer_rank = false;
  bool operator==(const ResourceSpec&) const = default;
};

struct JobSpec {
  std::string name;
  DatasetSpec dataset;
  int images_per_class = 0;
  NetworkSpec network;
  GradientMatchingSpec matching;  // without `trajectory`
  // Set: trajectories are matched, not gradients.
  std::optional<TrajectoryMatchingSpec> trajectory;
  ExpertSpec experts;  // with `trajectory`
  SynthesisSpec synthesis;
  SequenceSpec sequence;
  EvaluationSpec evaluation;
  // Set: an evaluate-only job; matching, sequence and images_per_class are
  // then without meaning.
  std::optional<SyntheticSetSpec> synthetic_set;
  ExecutionSpec execution;
  ResourceSpec resources;
  uint64_t seed = 0;
  std::map<std::string, std::string> labels;
  std::string salt;

  // "evaluate"; "idc" (one segment) or "dasm"; "trajectory" (one segment),
  // "seqmatch" or "dasm-trajectory".
  std::string Method() const;
};

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_JOB_SPEC_H_
