// SPDX-License-Identifier: Apache-2.0
#include "calibrate/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "calibrate/some_calibration.h"
#include "nextscale/error.h"

namespace nextscale {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Report, IsOnePageThatNeedsNothingElse) {
  const std::string page = calibration_report(some_calibration(), "hackpp");
  EXPECT_THAT(page, testing::StartsWith("<!doctype html>"));
  for (const char* foreign : {"<script", "http:", "https:", "url(", "@import", "src=", "nan"}) {
    EXPECT_THAT(page, Not(HasSubstr(foreign)));
  }
}

TEST(Report, ShowsEveryFigureWithItsNumbers) {
  const std::string page = calibration_report(some_calibration(), "hackpp:alpha=0.5");
  for (const char* title : {"Head classes", "Variance ranking", "Reliance on the cache", "History",
                            "Budgets of hackpp:alpha=0.5", "The cache over the steps"}) {
    EXPECT_THAT(page, HasSubstr(title));
  }
  EXPECT_THAT(page, HasSubstr("alpha = 0.5: 3 heads"));
  size_t tables = 0;
  for (size_t at = 0; (at = page.find("<table>", at)) != std::string::npos; ++at) ++tables;
  EXPECT_EQ(tables, 6U);
}

TEST(Report, WhatAFileSaysIsNoMarkup) {
  const std::string page = calibration_report(some_calibration(), "hackpp");
  EXPECT_THAT(page, HasSubstr("7 &lt;tabby&gt; &amp; "));
  EXPECT_THAT(page, Not(HasSubstr("<tabby>")));
}

TEST(Report, DrawsEveryPolicyAndAnyShareOfContextualHeads) {
  for (const char* kv : {"full", "streaming:budget=30%", "scalekv:cache=10tok,window=2",
                         "heatkv:sink=1,cache=50%", "hack:alpha=0", "hackpp:alpha=1"}) {
    EXPECT_THAT(calibration_report(some_calibration(), kv), HasSubstr("Budgets of")) << kv;
  }
}

TEST(Report, OfImportedResultsAloneIsRefused) {
  CalibrationFile file = some_calibration();
  file.header.source.reset();
  file.values.mass.clear();
  EXPECT_THAT([&] { calibration_report(file, "hackpp"); },
              testing::ThrowsMessage<Error>(HasSubstr("wanted measured attention")));
}

}  // namespace
}  // namespace nextscale
