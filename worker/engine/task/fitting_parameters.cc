#include "worker/engine/task/fitting_parameters.h"

#include <algorithm>
#include <cstdint>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/engine/device/fitting_group.h"

namespace dasm {
namespace {

constexpr char kRefused[] =
    "no smaller group fits either: use a smaller network or a device with "
    "more memory";
// Of a student whose batch is one kernel call, or whose graph is kept.
constexpr char kCoupled[] =
    "network.norm batch couples the images of a student's batch, which "
    "therefore has no parts: use a smaller matching.trajectory.batch or a "
    "device with more memory";
constexpr char kKeptGraphs[] =
    "estimator full_graph keeps the graphs of all student steps: use "
    "step_adjoint, which gives the same gradient in the memory of one";

// The most images that a kernel call of the task has.
template <typename Parameters>
int64_t LargestGroup(const Parameters& p) {
  int64_t group = std::max(p.execution.train_group, p.execution.forward_group);
  if constexpr (requires { p.matching.real_batch; }) {
    group = std::max<int64_t>(
        group,
        p.execution.micro_batch > 0
            ? p.execution.micro_batch
            : std::max(p.matching.real_batch, p.matching.synthetic_batch));
  }
  return group;
}

// Why smaller groups do not help at all; empty: they may.
template <typename Parameters>
std::string Hopeless(const Parameters& p) {
  if constexpr (requires { p.matching.estimator; }) {
    if (p.matching.estimator == Estimator::kFullGraph) return kKeptGraphs;
    if (p.network.norm == Norm::kBatch) return kCoupled;
  }
  return "";
}

}  // namespace

std::string FittingGroupAdvice(
    const TaskParameters& parameters,
    const std::function<absl::Status(const TaskParameters&)>& run) {
  return std::visit(
      [&](const auto& p) -> std::string {
        if constexpr (requires { p.execution; }) {
          if (std::string why = Hopeless(p); !why.empty()) return why;
          const int64_t group = LargestFittingGroup(
              LargestGroup(p), [&](int64_t images) -> absl::Status {
                const int most = static_cast<int>(images);
                auto smaller = p;
                ExecutionSpec& execution = smaller.execution;
                execution.train_group = std::min(execution.train_group, most);
                execution.forward_group =
                    std::min(execution.forward_group, most);
                execution.micro_batch =
                    execution.micro_batch > 0
                        ? std::min(execution.micro_batch, most)
                        : most;
                const absl::Status status = run(smaller);
                return FailureClassOf(status) == FailureClass::kPreempted
                           ? absl::OkStatus()
                           : status;
              });
          if (group == 0) return kRefused;
          return absl::StrCat("a step with groups of at most ", group,
                              " images fits: set execution.micro_batch, "
                              "train_group and forward_group to ",
                              group, " or less, or on_oom: replan");
        } else {
          return kRefused;
        }
      },
      parameters);
}

}  // namespace dasm
