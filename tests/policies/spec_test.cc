// SPDX-License-Identifier: Apache-2.0
#include "policies/spec.h"

#include <gtest/gtest.h>

#include "nextscale/error.h"

namespace nextscale {
namespace {

TEST(PolicySpec, ReadsNameAndSettings) {
  const PolicySpec spec = parse_policy_spec("hackpp:attn=30%,cache=512MiB");
  EXPECT_EQ(spec.name, "hackpp");
  EXPECT_EQ(spec.settings.at("attn"), "30%");
  EXPECT_EQ(spec.settings.at("cache"), "512MiB");
  EXPECT_TRUE(parse_policy_spec("full").settings.empty());
}

TEST(PolicySpec, RefusesWhatIsNotOfTheForm) {
  for (const char* text : {"", ":", ":a=1", "x:", "x:a", "x:=1", "x:a=", "x:a=1,", "x:a=1,a=2"}) {
    EXPECT_THROW(parse_policy_spec(text), Error) << text;
  }
}

TEST(PolicySpec, RefusesUnknownSettings) {
  EXPECT_THROW(require_known_settings(parse_policy_spec("x:tua=1"), {"tau"}), Error);
  EXPECT_NO_THROW(require_known_settings(parse_policy_spec("x:tau=1"), {"tau"}));
}

}  // namespace
}  // namespace nextscale
