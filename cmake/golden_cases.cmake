# SPDX-License-Identifier: Apache-2.0
# Read by ctest each time it runs: one test for each case of $NEXTSCALE_GOLDEN_DIR/<family>, or of
# tests/data/<family> without the variable. A family's folder without cases becomes one test, which
# fails; so does a $NEXTSCALE_GOLDEN_DIR in which no family has a folder.
set(golden_families var methods infinity)
if(DEFINED ENV{NEXTSCALE_GOLDEN_DIR})
  set(golden_root "$ENV{NEXTSCALE_GOLDEN_DIR}")
else()
  set(golden_root "${golden_default}")
endif()
set(golden_folder "${golden_root}/${golden_family}")
if(NOT EXISTS "${golden_folder}")
  foreach(other IN LISTS golden_families)
    if(EXISTS "${golden_root}/${other}")
      return()
    endif()
  endforeach()
endif()
file(GLOB golden_configs "${golden_folder}/*/config.json")

set(golden_names "")
foreach(config IN LISTS golden_configs)
  get_filename_component(folder "${config}" DIRECTORY)
  get_filename_component(case "${folder}" NAME)
  list(APPEND golden_names "${golden_family}/${case}")
endforeach()
if(NOT golden_names)
  set(golden_names "${golden_family}/no_case_found")
endif()
foreach(name IN LISTS golden_names)
  add_test("golden/${name}" "${golden_program}" "--gtest_filter=${name}.*")
  set_tests_properties("golden/${name}" PROPERTIES LABELS golden TIMEOUT 1800
    ENVIRONMENT "${golden_environment}")
endforeach()
