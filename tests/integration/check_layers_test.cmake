# Plants violations of the layer rule, one at a time, and demands that the check
# fails and names each; and that it passes what tests alone may do.
# cmake -DCHECK=cmake/check_layers.cmake -DWORK=DIR -P check_layers_test.cmake

# plant(FILE LINE EXPECTED): EXPECTED is what the check says, empty for nothing.
function(plant file line expected)
  file(REMOVE_RECURSE ${WORK})
  file(WRITE ${WORK}/${file} "${line}\n")
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${WORK} -P ${CHECK}
                  RESULT_VARIABLE failed ERROR_VARIABLE said OUTPUT_VARIABLE said)
  string(FIND "${said}" "${expected}" at)
  if(expected STREQUAL "" AND failed)
    message(FATAL_ERROR "${file} with ${line} was refused: ${said}")
  elseif(NOT expected STREQUAL "" AND (NOT failed OR at EQUAL -1))
    message(FATAL_ERROR "${file} with ${line} was not refused as \"${expected}\": ${said}")
  endif()
  file(REMOVE_RECURSE ${WORK})
endfunction()

plant(worker/engine/task/task.cc "#include \"worker/collective/collective.h\"" "")
plant(worker/engine/task/task.cc "#include \"worker/collective/single_process_collective.h\"" "")
plant(worker/engine/task/task.cc "#include \"worker/collective/thread_collective.h\""
      "worker/engine/task/task.cc: may not include worker/collective/thread_collective.h")
plant(worker/engine/task/task_test.cc "#include \"worker/collective/thread_collective.h\"" "")
plant(worker/engine/task/task_test.cc "#include \"worker/agent/agent.h\""
      "worker/engine/task/task_test.cc: may not include worker/agent/agent.h")
plant(worker/engine/task/task.cc "#include <grpcpp/grpcpp.h>" "task.cc: may not see")
plant(server/scheduler/scheduler.cc "#include \"server/store/job_store.h\""
      "server/scheduler/scheduler.cc: may not include server/store/job_store.h")
plant(server/main.cc "#include \"worker/agent/agent.h\""
      "server/main.cc: may not include worker/agent/agent.h")
plant(common/base/clock.cc "#include \"tests/support/process.h\""
      "common/base/clock.cc: may not include tests/support/process.h")
plant(client/main.cc "#include <torch/torch.h>" "client/main.cc: may not see")
