// Looking things up in a planned graph, for tests.
#ifndef DASM_SERVER_PLANNER_GRAPH_FOR_TESTS_H_
#define DASM_SERVER_PLANNER_GRAPH_FOR_TESTS_H_

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/planner/planner.h"

namespace dasm {

inline std::vector<std::string> Ids(const TaskGraph& graph) {
  std::vector<std::string> ids;
  for (const PlannedTask& task : graph.tasks) ids.push_back(task.id);
  return ids;
}

inline const PlannedTask& Find(const TaskGraph& graph, const std::string& id) {
  for (const PlannedTask& task : graph.tasks) {
    if (task.id == id) return task;
  }
  ADD_FAILURE() << "no task " << id << " in "
                << absl::StrJoin(Ids(graph), ", ");
  static const PlannedTask kNone;
  return kNone;
}

template <typename T>
const T& Parameters(const TaskGraph& graph, const std::string& id) {
  return std::get<T>(Find(graph, id).parameters);
}

// "pool=pool-2:pool" for each input.
inline std::vector<std::string> Inputs(const TaskGraph& graph,
                                       const std::string& id) {
  std::vector<std::string> inputs;
  for (const auto& [name, ref] : Find(graph, id).inputs) {
    inputs.push_back(absl::StrCat(name, "=", ref.task, ":", ref.output));
  }
  return inputs;
}

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_GRAPH_FOR_TESTS_H_
