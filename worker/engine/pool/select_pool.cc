#include "worker/engine/pool/select_pool.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

// Below this unlearned share of the whole set a pool
// of errors is mostly noise, and V2 takes this share of each class instead.
constexpr double kLeastUnlearned = 0.01;
constexpr double kFallbackQuantile = 0.1;
// Keeps the loss finite for a probability that rounded to zero.
constexpr double kLeastProbability = 1e-12;

absl::Status BadScores(const std::string& what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat("scores: ", what)),
      FailureClass::kData);
}

// The nearest whole number of images.
int64_t CountOf(double share, int64_t count) {
  return std::clamp<int64_t>(std::llround(share * count), 0, count);
}

// Whether the rule itself takes an image, before trim and floor.
class Rule {
 public:
  Rule(const SelectPoolParameters& parameters, PoolRule rule, double quantile,
       const SampleStatistics& statistics)
      : parameters_(parameters),
        rule_(rule),
        quantile_(quantile),
        statistics_(statistics) {}

  // `by_loss`: the class's images, highest loss first.
  std::vector<int64_t> Take(const std::vector<int64_t>& by_loss) const {
    std::vector<int64_t> taken;
    const int64_t top = CountOf(quantile_, by_loss.size());
    for (int64_t rank = 0; rank < static_cast<int64_t>(by_loss.size());
         ++rank) {
      const int64_t i = by_loss[rank];
      bool take = true;
      switch (rule_) {
        case PoolRule::kAll:
        case PoolRule::kWeighted:
          break;
        case PoolRule::kMisclassified:
          take = statistics_.learned[i] == 0;
          break;
        case PoolRule::kLossQuantile:
          take = rank < top;
          break;
        case PoolRule::kEl2n:
          take = statistics_.el2n[i] > parameters_.el2n_threshold;
          break;
      }
      if (take) taken.push_back(i);
    }
    return taken;
  }

 private:
  const SelectPoolParameters& parameters_;
  const PoolRule rule_;
  const double quantile_;
  const SampleStatistics& statistics_;
};

}  // namespace

absl::StatusOr<SampleStatistics> ComputeStatistics(
    const ScoredSamples& samples) {
  const int64_t n = samples.size();
  const int64_t classes = samples.classes;
  const int64_t nets = samples.probabilities.size();
  if (nets == 0) return BadScores("no network's scores were given");
  for (const auto& scores : samples.probabilities) {
    if (static_cast<int64_t>(scores.size()) != n * classes) {
      return BadScores(absl::StrCat("expected ", n, " x ", classes,
                                    " probabilities, got ", scores.size()));
    }
  }
  SampleStatistics result;
  result.label_probability.resize(n);
  result.loss.resize(n);
  result.el2n.resize(n);
  result.learned.resize(n);
  std::vector<double> mean(classes);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t label = samples.labels[i];
    if (label < 0 || label >= classes) {
      return BadScores(absl::StrCat("label ", label, " of image ", i,
                                    " is not one of ", classes, " classes"));
    }
    std::fill(mean.begin(), mean.end(), 0.0);
    int64_t correct = 0;
    for (const auto& scores : samples.probabilities) {
      const float* row = scores.data() + i * classes;
      int64_t best = 0;
      for (int64_t c = 0; c < classes; ++c) {
        // Also false for NaN. The margin is what a softmax may round up to.
        if (!(row[c] >= 0.0f && row[c] <= 1.0f + 1e-5f)) {
          return BadScores(absl::StrCat("probability ", row[c], " of image ", i,
                                        ", class ", c));
        }
        mean[c] += row[c];
        if (row[c] > row[best]) best = c;
      }
      if (best == label) ++correct;
    }
    double squares = 0;
    for (int64_t c = 0; c < classes; ++c) {
      mean[c] /= nets;
      const double error = mean[c] - (c == label ? 1.0 : 0.0);
      squares += error * error;
    }
    result.label_probability[i] = mean[label];
    result.loss[i] = -std::log(std::max(mean[label], kLeastProbability));
    result.el2n[i] = std::sqrt(squares);
    result.learned[i] = 2 * correct > nets ? 1 : 0;
  }
  return result;
}

Pool SelectPool(const SelectPoolParameters& parameters,
                absl::Span<const int64_t> labels, int classes,
                const SampleStatistics& statistics) {
  const int64_t n = labels.size();
  const int64_t learned = std::accumulate(statistics.learned.begin(),
                                          statistics.learned.end(), int64_t{0});
  const double unlearned = n == 0 ? 0.0 : static_cast<double>(n - learned) / n;

  Pool pool;
  pool.rule = parameters.pool;
  double quantile = std::max(parameters.quantile_floor, unlearned);
  if (unlearned < kLeastUnlearned &&
      (pool.rule == PoolRule::kMisclassified || pool.rule == PoolRule::kEl2n)) {
    pool.rule = PoolRule::kLossQuantile;
    quantile = kFallbackQuantile;
  }
  pool.members.assign(n, 0);
  pool.weight.assign(n, 0.0f);

  std::vector<std::vector<int64_t>> by_class(classes);
  for (int64_t i = 0; i < n; ++i) by_class[labels[i]].push_back(i);
  const bool modify = pool.rule != PoolRule::kAll;
  const Rule rule(parameters, pool.rule, quantile, statistics);
  for (std::vector<int64_t>& images : by_class) {
    const int64_t size = images.size();
    // Highest loss first; equal losses by position.
    std::stable_sort(images.begin(), images.end(), [&](int64_t a, int64_t b) {
      return statistics.loss[a] > statistics.loss[b];
    });
    const int64_t trimmed = modify ? CountOf(parameters.trim, size) : 0;
    for (int64_t i : rule.Take(images)) pool.members[i] = 1;
    for (int64_t r = 0; r < trimmed; ++r) pool.members[images[r]] = 0;

    int64_t count = 0;
    for (int64_t i : images) count += pool.members[i];
    if (modify) {
      const int64_t wanted = std::min<int64_t>(parameters.minimum, size);
      const auto fill = [&](int64_t rank) {
        if (count >= wanted || pool.members[images[rank]]) return;
        pool.members[images[rank]] = 1;
        ++count;
      };
      // Lowest p_y is highest loss. The trimmed come last, mildest first.
      for (int64_t r = trimmed; r < size; ++r) fill(r);
      for (int64_t r = trimmed - 1; r >= 0; --r) fill(r);
    }

    double total = 0;
    std::vector<double> weight(size, 0.0);
    for (int64_t r = 0; r < size; ++r) {
      const int64_t i = images[r];
      if (!pool.members[i]) continue;
      weight[r] =
          pool.rule == PoolRule::kWeighted
              ? parameters.weight_floor +
                    std::pow(std::max(0.0, 1 - statistics.label_probability[i]),
                             parameters.weight_power)
              : 1.0;
      total += weight[r];
    }
    for (int64_t r = 0; r < size && total > 0; ++r) {
      pool.weight[images[r]] = static_cast<float>(weight[r] / total);
    }
  }
  return pool;
}

}  // namespace dasm
