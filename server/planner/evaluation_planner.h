// Plans how a job's sets are evaluated: one task per set, network and repeat.
//
// Sets, by the name in their task ids ("evaluate-<set>-<network>-<repeat>"):
//   synthetic     in the first of evaluation.orders: the job's result
//   synthetic-union, synthetic-cumulative, synthetic-staged   in a further one
//   prefixK       the segments 1 .. K < number of segments
//   raw           the pixels that a moving average was taken of
//   snapshot-I, raw-snapshot-I   with iteration I of the last segment in place
//                 of its end, where evaluation.protocol chooses among them
//   random, tiles, start   baselines
// What protocol validation chooses among is tested on both splits after the
// same training.
//
// A union is trained for as many steps as the full set's; so are baselines,
// which hold nothing of the run, so that jobs share them. Other orders train
// their epochs in every stage.
#ifndef DASM_SERVER_PLANNER_EVALUATION_PLANNER_H_
#define DASM_SERVER_PLANNER_EVALUATION_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/planner/graph_builder.h"

namespace dasm {

class EvaluationPlanner {
 public:
  explicit EvaluationPlanner(GraphBuilder* builder) : builder_(*builder) {}

  // The numbers of images and steps; before anything is added.
  // INVALID_ARGUMENT (field) where they do not follow from the spec and data.
  absl::Status FindLengths();
  // Stored images of the evaluated set; 0: unknown.
  int64_t stored_images() const { return stored_images_; }
  // What is evaluated of a distilled set, and of one that "set" imported.
  void AddDistilled();
  void AddImported();
  // All evaluations, those of baselines last.
  void AddEvaluations();

 private:
  struct Set {
    std::string what;
    std::vector<TaskInputRef> parts;
    int64_t stored = 0;  // images
    // Decoded images of each segment; empty: the file tells.
    std::vector<int64_t> decoded;
    Order order = Order::kUnion;
    // Real images: they have no step size of their own.
    bool baseline = false;
    // The protocol may choose it.
    bool candidate = false;
  };

  absl::Status FindStoredImages();
  absl::Status FindSteps();
  // Of the distilled set; with one segment there is one order.
  Order FirstOrder() const;
  // `output` of the last segment's task behind the earlier segments.
  Set EndingWith(const std::string& what, const std::string& output) const;
  void AddSnapshots();
  void AddBaselines();
  void AddEvaluations(const Set& set);
  EvaluateParameters ParametersOf(const Set& set) const;
  bool trajectory() const { return builder_.spec().trajectory.has_value(); }

  GraphBuilder& builder_;
  int images_per_class_ = 0;  // 0: of an existing set, unknown
  int64_t stored_images_ = 0;
  TrainingRecipe training_;  // with the steps of a union
  int epochs_ = 0;           // of a stage
  std::vector<Set> sets_;
};

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_EVALUATION_PLANNER_H_
