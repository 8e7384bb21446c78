// What a worker would produce, without computing it: for each kind of task its
// outputs (a few bytes that follow from the action key; which ones there are
// may follow from the parameters) and a summary as the engine writes it.
#ifndef DASM_TESTS_INTEGRATION_COORDINATOR_SCRIPTED_WORK_H_
#define DASM_TESTS_INTEGRATION_COORDINATOR_SCRIPTED_WORK_H_

#include <map>
#include <string>

namespace dasm::testing_support {

struct ScriptedResult {
  std::map<std::string, std::string> outputs;  // bytes by output name
  std::string summary_json;
};

// `parameters_json` is the canonical one of a planned task.
ScriptedResult WorkOn(const std::string& kind, const std::string& key,
                      const std::string& parameters_json);

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_INTEGRATION_COORDINATOR_SCRIPTED_WORK_H_
