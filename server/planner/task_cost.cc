#include "server/planner/task_cost.h"

#include <algorithm>
#include <cmath>
#include <variant>

#include "server/planner/network_cost.h"

namespace dasm {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kRunnerBytes = 140 * kMiB;
// Of a runner that computes networks: kernels and their scratch.
constexpr double kNetworkBytes = 30 * kMiB;
// What the allocator holds back, at most; below as much as is kept.
constexpr double kSlackBytes = 100 * kMiB;
constexpr double kTraining = 1.36;
constexpr double kSynthetic = 2.8;
constexpr double kFloat = sizeof(float);
// What is resident of these, since the fused operators keep less.
constexpr double kKept = 0.5;
// Parameters, gradients, momentum, the partial sums of a step.
constexpr double kParameterCopies = 6;
// Of what matching keeps of an image, on the way back along a path.
constexpr double kAdjoint = 1.5;
// Runs that a search for the matching range takes.
constexpr int kRangeProbes = 10;

// Optimiser steps and images of a training.
struct TrainingLength {
  int64_t steps = 0;
  double images = 0;
};

// On segments of these many decoded images.
TrainingLength LengthOf(const TrainingRecipe& recipe, Order order, int epochs,
                        const std::vector<int64_t>& parts) {
  TrainingLength length;
  const int64_t passes = PassesOf(recipe, epochs);
  int64_t seen = 0;
  for (size_t k = 0; k < parts.size(); ++k) {
    seen = order == Order::kStaged ? parts[k] : seen + parts[k];
    if (order == Order::kUnion && k + 1 < parts.size()) continue;
    length.steps += passes * StepsPerEpoch(seen, recipe.batch);
    length.images += static_cast<double>(passes * seen);
  }
  return length;
}

// The share of the training images that an expert sees at epoch e.
double ShareAt(const DataScheduleSpec& schedule, int epoch, int epochs) {
  if (!schedule.enabled) return 1;
  double share = 1;
  if (schedule.growth_epochs > 0) {
    share = std::min(
        1.0, schedule.initial_share +
                 (1 - schedule.initial_share) * epoch / schedule.growth_epochs);
  }
  double removed = 0;
  int from = 0;
  for (size_t i = 0; i < schedule.removals.size(); ++i) {
    const DataScheduleSpec::Removal& removal = schedule.removals[i];
    if (epoch > removal.after_epoch) {
      removed = removal.share;
      from = removal.after_epoch;
      if (!schedule.gradual) continue;
      const bool last = i + 1 == schedule.removals.size();
      const int to = last ? epochs : schedule.removals[i + 1].after_epoch;
      const double before = i == 0 ? 0 : schedule.removals[i - 1].share;
      const double way =
          to > from
              ? std::min(1.0, static_cast<double>(epoch - from) / (to - from))
              : 1;
      removed = before + (removal.share - before) * way;
    }
  }
  return share - removed;
}

// Images as floats, label and segment.
double SetBytes(double images, double pixels) {
  return images * (kFloat * pixels + 12);
}

// Of one student path, at so many forward passes an image-step.
double PathFlops(const MatchTrajectoriesParameters& p,
                 const ResolvedDataset& dataset, double passes) {
  const NetworkCost net = CostOf(p.network, dataset.channels, dataset.height,
                                 dataset.width, dataset.classes);
  return net.forward_flops * passes * p.matching.student_steps *
         static_cast<double>(StudentBatch(p, dataset.classes));
}

class CostVisitor {
 public:
  CostVisitor(const ResolvedDataset& dataset, int64_t input_images,
              const std::vector<int64_t>& parts)
      : dataset_(dataset),
        parts_(parts),
        pixels_(static_cast<double>(dataset.channels) * dataset.height *
                dataset.width),
        images_(static_cast<double>(input_images)) {}

  TaskCost operator()(const PrepareDatasetParameters&) const {
    return Make(0, 2 * DatasetBytes(), DatasetBytes(), 0);
  }
  TaskCost operator()(const ImportSetParameters&) const {
    return Make(0, DatasetBytes() + 2 * SetBytes(images_),
                DatasetBytes() + 2 * SetBytes(images_), 0);
  }
  TaskCost operator()(const WhitenDatasetParameters&) const {
    constexpr double kChunk = 1024;  // images
    // Measured for 3,072 values: 896 MiB above the runner, LAPACK's included.
    constexpr double kMatrices = 9;
    constexpr double kDouble = sizeof(double);
    const double square = pixels_ * pixels_;
    const auto train = static_cast<double>(dataset_.train_images);
    const double whitened = kFloat * AllImages() * pixels_;
    return Make(square * (2 * train + 10 * pixels_ + 2 * AllImages()),
                DatasetBytes() + kMatrices * kDouble * square +
                    2 * kChunk * kDouble * pixels_,
                DatasetBytes() + whitened + 2 * kFloat * square, 0);
  }
  TaskCost operator()(const ImportScoresParameters&) const {
    return Make(0, DatasetBytes() + 2 * RankingBytes(),
                DatasetBytes() + 2 * RankingBytes(), 0);
  }
  TaskCost operator()(const RankSamplesParameters&) const {
    const double scores =
        kFloat * static_cast<double>(dataset_.train_images) * dataset_.classes;
    return Make(0, DatasetBytes() + 2 * scores + 2 * RankingBytes(),
                DatasetBytes() + scores + RankingBytes(), 0);
  }
  TaskCost operator()(const TrainExpertsParameters& p) const {
    const NetworkCost net = Network(p.network);
    const ExpertTraining& training = p.training;
    const bool gsam = training.optimizer == ExpertOptimizer::kGsam;
    const auto train = static_cast<double>(dataset_.train_images);
    double images = 0;
    int64_t steps = 0;
    for (int epoch = 0; epoch < training.epochs; ++epoch) {
      const double seen =
          train * ShareAt(training.schedule, epoch, training.epochs);
      images += seen;
      steps += StepsPerEpoch(static_cast<int64_t>(seen), training.batch);
    }
    TrainingLength start;
    if (p.start.trained) {
      start = LengthOf(p.start.training, p.start.order, p.start.epochs, parts_);
    }
    const double flops =
        net.forward_flops * p.count *
        ((gsam ? 6.0 : 3.0) * images + 3.0 * start.images + train);
    // On a device the steps of all experts are computed at once.
    const double image = kKept * kTraining * kFloat *
                         static_cast<double>(net.activations) * p.count;
    const double kept = image * EffectiveTrainGroup(p);
    const double file =
        static_cast<double>(ExpertBytes(p.network, training.epochs, dataset_));
    TaskCost cost = MakeComputing(
        flops,
        DatasetBytes() + p.count * (gsam ? 1.5 : 1.0) * ParameterBytes(net) +
            2 * SetBytes(images_),
        kept, DatasetBytes() + SetBytes(images_) + p.count * file,
        steps + p.count * start.steps);
    cost.memory_bytes_per_image = static_cast<int64_t>(std::ceil(image));
    return cost;
  }
  TaskCost operator()(const MatchTrajectoriesParameters& p) const {
    return Matching(p);
  }
  TaskCost operator()(const FindRangeParameters& p) const {
    MatchTrajectoriesParameters probe{.images_per_class = p.images_per_class,
                                      .network = p.network,
                                      .matching = p.matching,
                                      .init = p.init,
                                      .execution = p.execution};
    probe.matching.iterations = kRangeProbes * p.iterations;
    TaskCost cost = Matching(probe);
    cost.flops +=
        kRangeProbes * ProbeFlops(probe, dataset_, kRangeProbes * p.window);
    return cost;
  }
  TaskCost operator()(const DistillSegmentParameters& p) const {
    const NetworkCost net = Network(p.network);
    const GradientMatchingSpec& m = p.matching;
    const int64_t steps =
        int64_t{m.inits} / m.inits_per_step * m.steps_per_init;
    const double pass = dataset_.classes * MatchFlops(p, net) +
                        3.0 * net.forward_flops * m.net_steps * m.net_batch;
    // Of one image in a matching step, and of the network's training.
    const double image = kKept * kFloat * static_cast<double>(net.activations);
    const auto cut = static_cast<double>(EffectiveMicroBatch(p));
    const double kept =
        image *
        std::max({kTraining * std::min<double>(cut, m.real_batch),
                  kSynthetic * std::min<double>(cut, static_cast<double>(
                                                         SyntheticPerClass(p))),
                  kTraining * std::min(p.execution.train_group, m.net_batch)});
    const double segment =
        static_cast<double>(p.images_per_class) * dataset_.classes;
    TaskCost cost = MakeComputing(
        static_cast<double>(steps) * m.inits_per_step * pass,
        DatasetBytes() + m.inits_per_step * ParameterBytes(net) +
            4 * SetBytes(segment),
        kept, DatasetBytes() + SetBytes(images_) + 2 * SetBytes(segment),
        steps);
    cost.memory_bytes_per_image =
        static_cast<int64_t>(std::ceil(image * kSynthetic));
    return cost;
  }
  TaskCost operator()(const TrainDiscriminatorParameters& p) const {
    TaskCost cost =
        Training(p.network, p.training, p.order, p.epochs, p.execution, 0);
    const NetworkCost net = Network(p.network);
    cost.artifact_bytes +=
        static_cast<int64_t>(kFloat * static_cast<double>(net.parameters));
    return cost;
  }
  TaskCost operator()(const ScoreSamplesParameters& p) const {
    const NetworkCost net = Network(p.network);
    const auto images = static_cast<double>(dataset_.train_images);
    const double scores =
        kFloat * images * (dataset_.classes + (p.grand ? 1 : 0));
    return MakeComputing(
        images * net.forward_flops,
        DatasetBytes() + ParameterBytes(net) + scores,
        Forward(net, p.execution),
        DatasetBytes() + scores + kFloat * static_cast<double>(net.parameters),
        0);
  }
  TaskCost operator()(const SelectPoolParameters&) const {
    const auto images = static_cast<double>(dataset_.train_images);
    constexpr double kPoolRow = 1 + 4 + 1 + 4 + 4;
    const double scores = kFloat * images * dataset_.classes;
    return Make(0, DatasetBytes() + 2 * scores + images * kPoolRow,
                DatasetBytes() + scores + images * kPoolRow, 0);
  }
  TaskCost operator()(const SelectCoresetParameters&) const {
    return Make(0, DatasetBytes() + 2 * SetBytes(images_),
                DatasetBytes() + SetBytes(images_), 0);
  }
  TaskCost operator()(const EvaluateParameters& p) const {
    const int64_t held_out =
        p.split == Split::kTest ? 0 : dataset_.validation_images;
    return Training(p.network, p.training, p.order, p.epochs, p.execution,
                    dataset_.test_images + held_out);
  }
  TaskCost operator()(const AssembleParameters&) const {
    return Make(0, DatasetBytes() + 4 * SetBytes(images_),
                DatasetBytes() + 4 * SetBytes(images_), 0);
  }

 private:
  static TaskCost Make(double flops, double bytes, double artifacts,
                       int64_t steps) {
    return {.flops = flops,
            .memory_bytes = static_cast<int64_t>(kRunnerBytes + bytes),
            .artifact_bytes = static_cast<int64_t>(artifacts),
            .steps = steps};
  }
  // Of a task that computes networks; `kept` of a micro-batch, the rest fixed.
  static TaskCost MakeComputing(double flops, double bytes, double kept,
                                double artifacts, int64_t steps) {
    const double fixed = kNetworkBytes + bytes;
    TaskCost cost = Make(flops, fixed + kept + std::min(kept, kSlackBytes),
                         artifacts, steps);
    cost.fixed_memory_bytes =
        static_cast<int64_t>(kRunnerBytes + fixed + kSlackBytes);
    return cost;
  }
  NetworkCost Network(const NetworkSpec& network) const {
    return dasm::CostOf(network, dataset_.channels, dataset_.height,
                        dataset_.width, dataset_.classes);
  }
  double AllImages() const {
    return static_cast<double>(dataset_.train_images + dataset_.test_images +
                               dataset_.validation_images);
  }
  // Images as bytes or floats, labels as int64.
  double DatasetBytes() const {
    return AllImages() * (pixels_ * dataset_.bytes_per_pixel + 8);
  }
  double RankingBytes() const {
    return static_cast<double>(dataset_.train_images) * (kFloat + 8);
  }
  double SetBytes(double images) const {
    return dasm::SetBytes(images, pixels_);
  }
  static double ParameterBytes(const NetworkCost& net) {
    return kParameterCopies * kFloat *
           static_cast<double>(net.parameters + net.buffers);
  }
  // Without autograd a layer's input and output are alive.
  static double Forward(const NetworkCost& net, const ExecutionSpec& e) {
    return 2 * kFloat * static_cast<double>(net.largest_layer) *
           e.forward_group;
  }
  TaskCost Training(const NetworkSpec& network, const TrainingRecipe& recipe,
                    Order order, int epochs, const ExecutionSpec& execution,
                    int64_t tested) const {
    const NetworkCost net = Network(network);
    // BatchNorm couples a batch: it is computed in one group.
    const int group = network.norm == Norm::kBatch
                          ? recipe.batch
                          : std::min(execution.train_group, recipe.batch);
    // Sets that hold an image to an image are often less than a batch.
    const double batch = recipe.recipe != Recipe::kIdc && images_ > 0
                             ? std::min<double>(recipe.batch, images_)
                             : recipe.batch;
    TrainingLength length = {recipe.steps, recipe.steps * batch};
    if (order != Order::kUnion) {
      length = LengthOf(recipe, order, epochs, parts_);
    }
    const double flops =
        net.forward_flops * (3.0 * length.images + static_cast<double>(tested));
    const double kept =
        kKept * std::max(kTraining * kFloat *
                             static_cast<double>(net.activations) * group,
                         tested > 0 ? Forward(net, execution) : 0);
    return MakeComputing(
        flops, DatasetBytes() + ParameterBytes(net) + 2 * SetBytes(images_),
        kept, DatasetBytes() + SetBytes(images_), length.steps);
  }
  TaskCost Matching(const MatchTrajectoriesParameters& p) const {
    const TrajectoryMatchingSpec& m = p.matching;
    const NetworkCost net = Network(p.network);
    const StudentFlops passes = StudentFlopsOf(m.estimator);
    const double segment =
        static_cast<double>(p.images_per_class) * dataset_.classes;
    double iteration = m.trajectories_per_step *
                       PathFlops(p, dataset_, passes.forward + passes.backward);
    if (m.labels == Labels::kTeacher) {
      iteration += m.trajectories_per_step * net.forward_flops * segment;
    }
    const auto batch = static_cast<double>(StudentBatch(p, dataset_.classes));
    const bool coupled = p.network.norm == Norm::kBatch;
    const double group =
        coupled ? batch : EffectiveMicroBatch(p, dataset_.classes);
    const bool full = m.estimator == Estimator::kFullGraph;
    const double image =
        kKept * kSynthetic * kFloat * static_cast<double>(net.activations) *
        (m.estimator == Estimator::kStepAdjoint ? kAdjoint : 1);
    const double kept = image * (full ? m.student_steps * batch : group);
    const double vector = kFloat * static_cast<double>(net.parameters);
    const double path =
        vector * (m.student_steps + 2 + std::ceil(batch / group));
    const auto snapshots = static_cast<double>(SnapshotBytes(p, dataset_));
    TaskCost cost = MakeComputing(
        static_cast<double>(m.iterations) * iteration,
        DatasetBytes() + ParameterBytes(net) + path + SetBytes(images_) +
            6 * SetBytes(segment) + 2 * snapshots +
            2 * kFloat * pixels_ * batch,
        kept,
        DatasetBytes() + SetBytes(images_) + 2 * SetBytes(segment) + snapshots,
        m.iterations);
    // No smaller group helps where a batch is one, or graphs are kept.
    if (!full && !coupled) {
      cost.memory_bytes_per_image = static_cast<int64_t>(std::ceil(image));
    }
    return cost;
  }

  const ResolvedDataset& dataset_;
  const std::vector<int64_t>& parts_;
  const double pixels_;
  const double images_;
};

}  // namespace

int64_t StepsPerEpoch(int64_t images, int batch) {
  return (images + batch - 1) / batch;
}

int PassesOf(const TrainingRecipe& recipe, int epochs) {
  return recipe.recipe == Recipe::kIdc ? epochs : epochs + 1;
}

int64_t StudentBatch(const MatchTrajectoriesParameters& parameters,
                     int classes) {
  // Planned ones name it (trajectory_planner.h).
  return parameters.matching.batch > 0
             ? parameters.matching.batch
             : int64_t{parameters.images_per_class} * classes;
}

int EffectiveMicroBatch(const MatchTrajectoriesParameters& parameters,
                        int classes) {
  const ExecutionSpec& execution = parameters.execution;
  return static_cast<int>(std::min<int64_t>(
      execution.micro_batch > 0 ? execution.micro_batch : execution.train_group,
      StudentBatch(parameters, classes)));
}

int EffectiveTrainGroup(const TrainExpertsParameters& parameters) {
  // BatchNorm couples a batch.
  return parameters.network.norm == Norm::kBatch
             ? parameters.training.batch
             : std::min(parameters.execution.train_group,
                        parameters.training.batch);
}

StudentFlops StudentFlopsOf(Estimator estimator) {
  switch (estimator) {
    case Estimator::kStepAdjoint:
      return {3, 9};
    case Estimator::kFullGraph:
      return {3, 6};
    case Estimator::kTesla:
      return {3, 7};
  }
  return {};
}

bool HasSoftLabels(const TrajectoryMatchingSpec& matching) {
  return matching.labels != Labels::kHard;
}

int64_t SnapshotBytes(const MatchTrajectoriesParameters& parameters,
                      const ResolvedDataset& dataset) {
  const TrajectoryMatchingSpec& m = parameters.matching;
  if (m.snapshot_interval <= 0) return 0;
  const int snapshots = (m.iterations - 1) / m.snapshot_interval;
  const double set = SetBytes(
      static_cast<double>(parameters.images_per_class) * dataset.classes,
      static_cast<double>(dataset.channels) * dataset.height * dataset.width);
  return static_cast<int64_t>((m.pixel_ema > 0 ? 2.0 : 1.0) * snapshots * set);
}

double ProbeFlops(const MatchTrajectoriesParameters& parameters,
                  const ResolvedDataset& dataset, int start_epochs) {
  return start_epochs *
         PathFlops(parameters, dataset,
                   StudentFlopsOf(parameters.matching.estimator).forward);
}

int64_t ExpertBytes(const NetworkSpec& network, int epochs,
                    const ResolvedDataset& dataset) {
  const NetworkCost net = CostOf(network, dataset.channels, dataset.height,
                                 dataset.width, dataset.classes);
  return static_cast<int64_t>(epochs + 1) * (net.parameters + net.buffers) *
         static_cast<int64_t>(sizeof(float));
}

int64_t SyntheticPerClass(const DistillSegmentParameters& parameters) {
  const int64_t decoded = int64_t{parameters.images_per_class} *
                          parameters.synthesis.factor *
                          parameters.synthesis.factor;
  return std::min<int64_t>(decoded, parameters.matching.synthetic_batch);
}

int EffectiveMicroBatch(const DistillSegmentParameters& parameters) {
  const int all = static_cast<int>(std::max<int64_t>(
      parameters.matching.real_batch, SyntheticPerClass(parameters)));
  const int micro_batch = parameters.execution.micro_batch;
  return micro_batch > 0 ? std::min(micro_batch, all) : all;
}

double MatchFlops(const DistillSegmentParameters& parameters,
                  const NetworkCost& network) {
  const auto synthetic = static_cast<double>(SyntheticPerClass(parameters));
  const bool cut =
      EffectiveMicroBatch(parameters) < parameters.matching.real_batch ||
      EffectiveMicroBatch(parameters) < SyntheticPerClass(parameters);
  return network.forward_flops * (3.0 * parameters.matching.real_batch +
                                  (cut ? 10.0 : 7.0) * synthetic);
}

TaskCost CostOf(const TaskParameters& parameters,
                const ResolvedDataset& dataset, int64_t input_images,
                const std::vector<int64_t>& parts) {
  return std::visit(CostVisitor(dataset, input_images, parts), parameters);
}

}  // namespace dasm
