import type { components } from "../gen/api.ts";

type Schemas = components["schemas"];

/** Answers have every field, empty ones too; the document cannot say so, since requests share its schemas. */
type Whole<T> = T extends readonly (infer Item)[]
  ? Whole<Item>[]
  : T extends object
    ? { [Name in keyof T]-?: Whole<Exclude<T[Name], undefined>> }
    : T;

export type Problem = Schemas["Problem"];
export type Session = Whole<Schemas["identity.Session"]>;
export type Member = Whole<Schemas["identity.Member"]>;
export type Invitation = Whole<Schemas["identity.Invitation"]>;
export type InvitationOffer = Whole<Schemas["identity.InvitationOffer"]>;
export type Organization = Whole<Schemas["identity.Organization"]>;
export type Contact = Whole<Schemas["identity.Contact"]>;
export type ContactMerge = Whole<Schemas["identity.ContactMerge"]>;
export type ContactMergePreview = Whole<Schemas["identity.ContactMergePreview"]>;
export type IdentityConflict = Whole<Schemas["identity.IdentityConflict"]>;
export type Task = Whole<Schemas["crm.ReconciliationTask"]>;
export type ContactIdentity = Whole<Schemas["identity.ContactIdentity"]>;
export type Conversation = Whole<Schemas["conversation.Conversation"]>;
export type MessagesPerDay = Whole<Schemas["conversation.MessagesPerDay"]>;
export type HourHeatmap = Whole<Schemas["conversation.HourHeatmap"]>;
export type KillSwitch = Whole<Schemas["outreach.KillSwitch"]>;
export type Instance = Whole<Schemas["conversation.Instance"]>;
export type InstanceQr = Whole<Schemas["conversation.InstanceQr"]>;
export type Campaign = Whole<Schemas["outreach.Campaign"]>;
export type Touch = Whole<Schemas["outreach.Touch"]>;
export type Script = Whole<Schemas["conversation.Script"]>;
export type Round = Whole<Schemas["conversation.Round"]>;
export type Persona = Whole<Schemas["conversation.Persona"]>;
export type ConversationState = Conversation["state"];
export type Message = Whole<Schemas["conversation.Message"]>;
export type Delivery = Whole<Schemas["conversation.Delivery"]>;
export type Connection = Whole<Schemas["ingest.Connection"]>;
export type Reaction = Whole<Schemas["conversation.Reaction"]>;
export type Attachment = Whole<Schemas["conversation.Attachment"]>;
export type Board = Whole<Schemas["crm.Board"]>;
export type Stage = Whole<Schemas["crm.Stage"]>;
export type Deal = Whole<Schemas["crm.Deal"]>;
export type BoardTotals = Whole<Schemas["crm.BoardTotals"]>;
export type StageMove = Whole<Schemas["crm.StageMove"]>;
export type Source = Conversation["source"];
