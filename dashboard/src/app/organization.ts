import { queryOptions } from "@tanstack/react-query";
import { api, taken } from "../api/client.ts";
import type { Organization } from "../api/types.ts";

export const organizationQuery = queryOptions({
  queryKey: ["organization"],
  queryFn: ({ signal }) => taken<Organization>(api.GET("/api/v1/organization", { signal })),
});
